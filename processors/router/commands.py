"""Commands: what the router makes of an operator's command."""

from __future__ import annotations

from authority.identity import Identity
from processors.router.attempts import fail
from processors.router.decision import Decision
from processors.router.ending import request_end
from processors.router.scheduling import advance
from processors.router.state import Execution
from streams.actors import same_actor
from streams.commands import Approve, Cancel, Pause, Reject, Resolve, Resume
from streams.lifecycle import ENDED
from streams.payloads import (
    ApprovalGiven,
    Audit,
    By,
    NeedsAttention,
    Rejected,
    Resumed,
    RetryScheduled,
    StepFailed,
    StepSucceeded,
)
from streams.reports import StepError
from streams.timestamps import iso

Command = Cancel | Approve | Reject | Pause | Resume | Resolve


def audited(identity: Identity, action: str, allowed: bool, message: str) -> Audit:
    """A decision about authority: who asked, as far as that is proven."""
    return Audit(
        identity.actor, action, allowed, message, key=identity.kid, claimed_actor=identity.claimed
    )


def audit(decision: Decision, identity: Identity, action: str, allowed: bool, message: str) -> None:
    """Write down a decision about authority."""
    decision.emit("audit.decision", audited(identity, action, allowed, message))


def decide_command(
    execution: Execution, command: Command, identity: Identity, now: float
) -> Decision:
    """What follows from a command; a refusal is an `audit.decision` that says why.

    The actor that counts is that of `identity`, whatever the command names.
    """
    decision = Decision(execution, now)
    refusal = _refusal(execution, command, identity, now)
    if refusal is not None:
        audit(decision, identity, command.type, False, refusal)
        return decision
    by = By(identity.actor, command.reason, identity.claimed)
    match command:
        case Cancel():
            reason = command.reason or f"cancelled by {_named(by)}"
            request_end(decision, "cancelled", by.actor, reason)
            advance(decision)
        case Approve():
            _approve(decision, by)
        case Reject():
            message = command.reason or f"{by.actor} rejected it"
            data = Rejected("not_approved", message, actor=by.actor, name=execution.plan.name)
            decision.emit("execution.rejected", data)
        case Pause():
            decision.emit("execution.paused", by)
        case Resume():
            _resume(decision, by)
        case Resolve():
            _resolve(decision, command, by, identity)
    return decision


def _named(by: By) -> str:
    claimed = by.claimed_actor
    return by.actor if claimed is None else f"{by.actor} (unsigned, named {claimed})"


def _approve(decision: Decision, by: By) -> None:
    """Count an approval; with the last one that the level needs the execution goes on."""
    execution = decision.execution
    given, level = len(execution.approved_by) + 1, execution.approval_level
    if given < level:
        partial = ApprovalGiven(by.actor, given, level, by.reason)
        decision.emit("execution.approval_given", partial)
        return
    decision.emit("execution.approved", by)
    advance(decision, everything=True)


def _refusal(execution: Execution, command: Command, identity: Identity, now: float) -> str | None:
    """Why the command cannot be followed, or None."""
    status = execution.status
    if status in ENDED:
        return f"the execution has ended as {status}"
    if isinstance(command, Cancel):
        return "its end is already asked for" if execution.ending else None
    if isinstance(command, Approve | Reject):
        if status != "pending_approval":
            return f"it does not wait for approval; it is {status}"
        if identity.kid is None:
            return "an approval, and the refusal of one, must be signed by the actor who gives it"
        if isinstance(command, Approve):
            return _approval_refusal(execution, command, identity, now)
        return None
    if execution.ending is not None:
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


def _approval_refusal(
    execution: Execution, command: Approve, identity: Identity, now: float
) -> str | None:
    actor = identity.actor
    asked = (execution.claimed_actor or execution.actor, execution.actor, *execution.earlier_actors)
    if any(same_actor(actor, other) for other in asked):
        return f"{actor} asked for this execution and cannot approve it"
    if any(same_actor(actor, other) for other in execution.approved_by):
        return f"{actor} has approved it already; level {execution.approval_level} needs others"
    expires = execution.approval_expires_at
    if expires is not None and expires <= now:
        return f"the time for its approval ended at {iso(expires)}"
    if command.plan_hash not in (None, execution.plan_hash):
        return f"the plan has another hash: {execution.plan_hash}"
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


def _resolve(decision: Decision, command: Resolve, by: By, identity: Identity) -> None:
    execution = decision.execution
    step = execution.steps[command.step]
    audit(decision, identity, "resolve", True, f"{command.step} is {command.outcome}")
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
