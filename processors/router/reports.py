"""Reports: what the router makes of an executor's report.

A report counts only for the attempt that is in flight, and once. What may come again and again
(heartbeats, and why it waits) counts from the executor that claimed it, and only if it was signed
later than the one before. A report that was applied already is ignored; one of an attempt that no
longer counts is written down as `step.late_result`, with what it says, and changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from processors.router import conditions
from processors.router.asset_names import learned, uncovered
from processors.router.attempts import cancel_attempt, fail
from processors.router.decision import AskKeeper, Decision
from processors.router.entries import DedupEntry, StepEntry
from processors.router.evolve import heard, held, renew_lease, told_progress
from processors.router.scheduling import advance
from processors.router.state import Execution, StepState, report_bit, use_digest
from streams.actors import ANONYMOUS
from streams.audit_payloads import Audit, SecretsUsed
from streams.lifecycle import ENDED
from streams.limits import MAX_EVIDENCE_BYTES
from streams.locks import AssetNames, Name
from streams.payloads import (
    LateResult,
    Nothing,
    StepCancelled,
    StepFailed,
    StepProgress,
    StepStarted,
    StepSucceeded,
)
from streams.payloads import Waiting as StepWaiting
from streams.reports import (
    AnyReport,
    Cancelled,
    Failed,
    Heartbeat,
    Refused,
    Resumed,
    Started,
    StepError,
    Succeeded,
    Waiting,
)
from streams.reports import SecretsUsed as UsedReport
from toolmeta.locking import LOCK_NAMES

#: Progress becomes an event at most this often, in seconds.
PROGRESS_EVERY: Final = 1.0
#: How many late reports of one step are written down.
MAX_LATE: Final = 10
#: Reasons of a refusal that lie in the command itself: each new attempt would be refused too.
_AT_FAULT: Final = frozenset({"invalid", "environment", "not_approved"})


def decide_report(execution: Execution, report: AnyReport, signed_at: int, now: float) -> Decision:
    """What follows from a report about an execution that has not been forgotten.

    `signed_at` is in Unix microseconds.
    """
    decision = Decision(execution, now)
    step = execution.steps.get(report.step)
    if step is None or report.attempt > step.attempt:
        return decision
    if type(report) is UsedReport:
        # Also of an attempt that no longer counts: it has the secrets.
        _secrets_used(decision, step, report)
        return decision
    current = step.in_flight and report.attempt == step.attempt
    if not current or execution.status in ENDED:
        _late(decision, step, report)
        return decision
    # The most frequent first: each case that does not match costs a microsecond.
    match report:
        case Started():
            _started(decision, step, report)
        case Succeeded():
            _run(decision)
            succeeded = StepSucceeded(
                report.duration_seconds,
                report.output,
                report.stdout,
                report.stderr,
                report.type,
            )
            conditions.succeeded(decision, step, succeeded)
            _teach(decision, learned(execution.spec(step), report.output))
        case Heartbeat():
            if report.executor == step.executor and heard(step, signed_at):
                _heartbeat(decision, step, report)
            return decision
        case Waiting() | Resumed():
            if report.executor != step.executor or not held(step, signed_at):
                return decision
            if isinstance(report, Waiting):
                _waiting(decision, step, report)
            else:
                _resumed(decision, step)
        case Failed():
            _run(decision)
            if report.error["class"] == LOCK_NAMES:
                _teach(decision, uncovered(report.output, execution.locks))
            _denied(decision, step, report)
            failed = StepFailed(
                report.duration_seconds,
                report.error,
                evidence=_evidence(report.evidence),
                output=report.output,
                stdout=report.stdout,
                stderr=report.stderr,
                report=report.type,
            )
            fail(decision, step, failed, timed_out=report.timed_out)
        case Cancelled():
            _cancelled(decision, step, report)
        case Refused():
            _refused(decision, step, report)
    advance(decision)
    return decision


def _teach(decision: Decision, assets: list[AssetNames]) -> None:
    """Tell the lock keeper which names the inventory has for each of these assets."""
    execution = decision.execution
    if assets:
        command = Name(execution_id=execution.id, tenant=execution.tenant, assets=assets)
        decision.effects.append(AskKeeper(command))


def _lease(decision: Decision, step: StepState) -> None:
    seconds = decision.execution.spec(step).lease_seconds
    renew_lease(step, decision.now + seconds)


def _started(decision: Decision, step: StepState, report: Started) -> None:
    if step.claimed:
        if report.executor != step.executor and step.status != "cancelling":
            # A claim is reported once, so this is another one: the command was in the topic twice.
            cancel_attempt(decision, step, report.attempt, "superseded", report.executor)
        return
    _run(decision)
    decision.emit("step.started", StepStarted(report.executor), step.id, report.attempt)
    _lease(decision, step)
    if step.status == "cancelling":
        # It was claimed although it was to be cancelled; its executor ends it.
        cancel_attempt(decision, step, report.attempt, "cancelled")


def _run(decision: Decision) -> None:
    """The first attempt that starts makes the execution run."""
    if decision.execution.status in ("approved", "queued"):
        decision.emit("execution.started")


def _waiting(decision: Decision, step: StepState, report: Waiting) -> None:
    _lease(decision, step)
    if step.waiting != report.reason and step.status != "cancelling":
        data = StepWaiting(report.reason, report.message)
        decision.emit("step.waiting", data, step.id, report.attempt)


def _resumed(decision: Decision, step: StepState) -> None:
    _lease(decision, step)
    if step.waiting is not None:
        decision.emit("step.resumed", Nothing(), step.id, step.attempt)


def _secrets_used(decision: Decision, step: StepState, report: UsedReport) -> None:
    execution = decision.execution
    if use_digest(report.attempt, report.executor, report.uses) in step.used:
        return
    tool = execution.spec(step).tool
    data = SecretsUsed(execution.actor, tool, report.executor, report.uses, execution.claimed_actor)
    decision.emit("audit.secret_used", data, step.id, report.attempt)


def _denied(decision: Decision, step: StepState, report: Failed) -> None:
    data = secret_denied(report, decision.execution)
    if data is not None:
        decision.emit("audit.decision", data, step.id, report.attempt)


def secret_denied(report: Failed, execution: Execution | None) -> Audit | None:
    """The decision that an executor refused a secret, where the attempt failed by that.

    `execution` is None where nobody knows any more who asked for it.
    """
    denied = report.denied
    if denied is None:
        return None
    actor = ANONYMOUS if execution is None else execution.actor
    claimed = None if execution is None else execution.claimed_actor
    message, resource = report.error["message"], f"secret/{denied.path}"
    return Audit(actor, "secret", False, message, denied.rule, None, claimed, resource)


def _heartbeat(decision: Decision, step: StepState, report: Heartbeat) -> None:
    _lease(decision, step)
    told = (report.percent, report.message)
    early = decision.now - step.progress_at < PROGRESS_EVERY
    if told in ((None, None), step.progress) or early:
        return
    told_progress(step, told, decision.now)
    data = StepProgress(report.percent, report.message, report.bytes)
    decision.emit("step.progress", data, step.id, report.attempt)


def _cancelled(decision: Decision, step: StepState, report: Cancelled) -> None:
    execution = decision.execution
    if not execution.ends(step):
        # Nobody asked for it, so the step is not done with.
        error: StepError = {
            "class": "stopped",
            "message": f"{report.executor} stopped the attempt without being asked to",
            "transient": execution.spec(step).retry_safe,
        }
        seconds = report.duration_seconds
        data = StepFailed(seconds, error, output=report.output, report=report.type)
        fail(decision, step, data)
        return
    cancelled = StepCancelled(
        confirmed=report.confirmed,
        reason=execution.ending_reason or "the attempt was stopped",
        evidence=_evidence(report.evidence) or {},
        output=report.output,
        report=report.type,
    )
    decision.emit("step.cancelled", cancelled, step.id, report.attempt)


def _evidence(evidence: dict[str, Any] | None) -> dict[str, Any] | None:
    """The evidence, as far as its budget goes."""
    size = len(orjson.dumps(evidence))
    if size <= MAX_EVIDENCE_BYTES:
        return evidence
    return {"truncated": f"the evidence had {size} bytes; {MAX_EVIDENCE_BYTES} are kept"}


def _refused(decision: Decision, step: StepState, report: Refused) -> None:
    if step.claimed:
        # Its command was in the topic twice, and the other one was claimed.
        return
    if decision.execution.ends(step):
        evidence = {"started": False, "refused": report.message}
        reason = decision.execution.ending_reason or report.message
        data = StepCancelled(True, reason, evidence, report=report.type)
        decision.emit("step.cancelled", data, step.id, report.attempt)
        return
    # Nothing was started, so a new attempt is safe unless the command itself is at fault.
    error: StepError = {
        "class": report.reason,
        "message": report.message,
        "transient": report.reason not in _AT_FAULT,
    }
    failed = StepFailed(0.0, error, report=report.type)
    fail(decision, step, failed, timed_out=report.reason == "expired")


def _late(decision: Decision, step: StepState, report: AnyReport) -> None:
    """Record what an attempt that no longer counts came to, once for each kind of report."""
    if not is_late(StepEntry(step.attempt, step.reported, step.late), report):
        if isinstance(report, Started):
            cancel_attempt(decision, step, report.attempt, "superseded", report.executor)
        return
    data = late_result(report)
    if isinstance(report, Started):
        data.message = "it was claimed after it had been given up; the executor is told to end it"
        cancel_attempt(decision, step, report.attempt, "superseded")
    if isinstance(report, Failed):
        _denied(decision, step, report)
    decision.emit("step.late_result", data, step.id, report.attempt)


def is_late(entry: StepEntry, report: AnyReport) -> bool:
    """Whether a report of an attempt that is over is news, and no repetition."""
    bit = report_bit(report.type, report.attempt)
    known = report.attempt > entry.attempt or entry.reported & bit or entry.late >= MAX_LATE
    return bit != 0 and not known


def late_result(report: AnyReport) -> LateResult:
    """What the report says, as it is written down."""
    data = LateResult(report.type, report.executor)
    match report:
        case Failed():
            data.error, data.evidence = report.error, _evidence(report.evidence)
        case Cancelled():
            data.confirmed, data.evidence = report.confirmed, _evidence(report.evidence)
        case Refused(message=message):
            data.message = message
        case _:
            pass
    return data


def decide_late_report(entry: DedupEntry, report: AnyReport) -> LateResult | None:
    """The late result of an execution that has ended; None where the report is no news.

    The entry then counts the report as recorded.
    """
    step = entry.steps.get(report.step)
    if step is None or not is_late(step, report):
        return None
    step.reported |= report_bit(report.type, report.attempt)
    step.late += 1
    return late_result(report)
