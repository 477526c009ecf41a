"""Commands: what the router makes of an operator's command."""

from __future__ import annotations

from authority.identity import Identity
from authority.policy import Verdict
from processors.router.approval import approval_refusal, approve
from processors.router.attempts import fail
from processors.router.authorisation import audit_of
from processors.router.decision import Decision
from processors.router.ending import request_end
from processors.router.scheduling import advance
from processors.router.state import Execution
from streams.commands import Approve, Cancel, Pause, Reject, Resolve, Resume
from streams.control_payloads import By, NeedsAttention, Resumed
from streams.lifecycle import ENDED
from streams.payloads import Rejected, RetryScheduled, StepFailed, StepSucceeded
from streams.reports import StepError
from streams.timestamps import iso
from toolmeta.registry import Registry

Command = Cancel | Approve | Reject | Pause | Resume | Resolve


def decide_command(
    execution: Execution,
    command: Command,
    identity: Identity,
    verdict: Verdict,
    now: float,
    tools: Registry,
) -> Decision:
    """What follows from a command, after the `audit.decision` that says whether it is followed.

    The actor that counts is that of `identity`, whatever the command names; `verdict` is what the
    policy says; `tools` is the catalogue as it is now.
    """
    decision = Decision(execution, now)
    refusal = verdict.message
    if verdict.allowed:
        refusal = _refusal(execution, command, identity, now, tools) or ""
    allowed = not refusal
    told = refusal or verdict.message
    if allowed and isinstance(command, Resolve):
        told = f"{command.step} is {command.outcome}"
    data = audit_of(
        identity, command.type, allowed, told, verdict.rule, f"execution/{execution.id}"
    )
    decision.emit("audit.decision", data)
    if not allowed:
        return decision
    by = By(identity.actor, command.reason, identity.claimed)
    match command:
        case Cancel():
            reason = command.reason or f"cancelled by {_named(by)}"
            request_end(decision, "cancelled", by.actor, reason)
            advance(decision)
        case Approve():
            approve(decision, by)
        case Reject():
            message = command.reason or f"{by.actor} rejected it"
            ended = Rejected("not_approved", message, actor=by.actor, name=execution.plan.name)
            decision.emit("execution.rejected", ended)
        case Pause():
            decision.emit("execution.paused", by)
        case Resume():
            _resume(decision, by)
        case Resolve():
            _resolve(decision, command, by)
    return decision


def _named(by: By) -> str:
    claimed = by.claimed_actor
    return by.actor if claimed is None else f"{by.actor} (unsigned, named {claimed})"


def _refusal(
    execution: Execution, command: Command, identity: Identity, now: float, tools: Registry
) -> str | None:
    """Why the command cannot be followed, or None."""
    status = execution.status
    if status in ENDED:
        return f"the execution has ended as {status}"
    if isinstance(command, Cancel):
        # Another cancel ends the steps of `finally`, too.
        asked = execution.ending is not None and execution.outcome is None
        return "its end is already asked for" if asked or execution.finally_ending else None
    if isinstance(command, Approve | Reject):
        if status != "pending_approval":
            return f"it does not wait for approval; it is {status}"
        if identity.kid is None:
            return "an approval, and the refusal of one, must be signed by the actor who gives it"
        if isinstance(command, Approve):
            return approval_refusal(execution, command, identity, now, tools)
        return None
    if execution.ending is not None and not isinstance(command, Resolve):
        return "its end is already asked for"
    if isinstance(command, Pause):
        return None if status in ("approved", "queued", "running") else f"it is {status}"
    if isinstance(command, Resume):
        return None if status == "paused" else f"it is not paused but {status}"
    step = execution.steps.get(command.step)
    if step is None:
        return f"there is no step {command.step}"
    if step.status != "needs_attention":
        return f"step {command.step} does not need attention; it is {step.status}"
    return None


def _resume(decision: Decision, by: By) -> None:
    execution = decision.execution
    begun = execution.started_at is not None
    if begun or any(step.started_at for step in execution.steps.values()):
        decision.emit("execution.resumed", Resumed(by.actor, "running", by.reason))
    elif execution.mode == "background" and any(s.attempt for s in execution.steps.values()):
        decision.emit("execution.resumed", Resumed(by.actor, "queued", by.reason))
    else:
        decision.emit("execution.resumed", Resumed(by.actor, "approved", by.reason))
    if execution.status == "running" and execution.started_at is None:
        decision.emit("execution.started")
    lost = [step.id for step in execution.steps.values() if step.status == "needs_attention"]
    if lost:
        message = f"{len(lost)} steps need attention: {', '.join(lost[:5])}"
        decision.emit("execution.needs_attention", NeedsAttention(message))
    advance(decision, everything=True)


def _resolve(decision: Decision, command: Resolve, by: By) -> None:
    execution = decision.execution
    step = execution.steps[command.step]
    if command.outcome == "succeeded":
        data = StepSucceeded(0.0, command.output)
        decision.emit("step.succeeded", data, step.id, step.attempt)
    else:
        # Another attempt is what the operator asks for, or does not, whatever the limit says.
        error: StepError = {
            "class": "resolved",
            "message": f"{by.actor} resolved it as {command.outcome}",
            "transient": False,
        }
        failed = StepFailed(0.0, error, output=command.output)
        if command.outcome == "failed":
            fail(decision, step, failed)
        else:
            failed.final = False
            attempt = step.attempt
            decision.emit("step.failed", failed, step.id, attempt)
            again = RetryScheduled(attempt + 1, attempt + 1, 0.0, iso(decision.now))
            decision.emit("step.retry_scheduled", again, step.id, attempt)
    still = any(other.status == "needs_attention" for other in execution.steps.values())
    if execution.status == "needs_attention" and not still:
        decision.emit("execution.resumed", Resumed(by.actor, "running", by.reason))
    advance(decision, everything=True)
