"""The kind and fields of the last report of an attempt."""

from __future__ import annotations

from typing import Any

from drivers.context import Failure, Outcome, Success
from processors.executors import large_output, reports
from processors.executors.attempts import Attempt, expired


def evidence(attempt: Attempt) -> dict[str, Any]:
    """What is known of an attempt that was stopped.

    `began`; `effect` (none, possible or done); `cancel_unconfirmed`, a sentence, where it is not
    certain that nothing of it goes on; and what the driver found.
    """
    context = attempt.context
    if not attempt.began:
        return {"began": False, "effect": "none"}
    found = {**context.evidence, "began": True, "effect": context.stop.effect}
    if not context.stop.ended:
        found.setdefault(
            "cancel_unconfirmed", "it was stopped while it acted, and may have had its effect"
        )
    return found


def result(attempt: Attempt, outcome: Outcome | None) -> tuple[str, dict[str, Any]]:
    """The kind and the own fields of the last report; `outcome` as `perform` gave it.

    What the driver returned counts, also where the agent had begun to end the attempt.
    """
    if isinstance(outcome, Success):
        return "succeeded", {}
    if isinstance(outcome, Failure):
        return "failed", {"failure": outcome}
    if attempt.ending is None:
        return "failed", {"failure": Failure("internal", "The attempt ended without an outcome.")}
    found = evidence(attempt)
    confirmed = "cancel_unconfirmed" not in found
    if attempt.ending in ("cancelled", "superseded"):
        found["reason"] = attempt.cancel_reason or attempt.ending
        return "cancelled", {"confirmed": confirmed, "evidence": found}
    if attempt.ending == "expired":
        return "failed", {"failure": expired(), "evidence": found}
    repeatable = attempt.invocation.retry_safe or (confirmed and found["effect"] == "none")
    if attempt.ending == "timed_out":
        seconds = attempt.command.timeout_seconds
        failure = Failure("timed_out", f"The time limit of {seconds:g} s passed.", repeatable)
    else:
        verb = "ended" if attempt.began else "began"
        message = f"The executor was stopped before the attempt {verb}."
        failure = Failure("executor_stopped", message, repeatable)
    timed_out = attempt.ending == "timed_out"
    return "failed", {"failure": failure, "timed_out": timed_out, "evidence": found}


def end_fields(attempt: Attempt, duration: float, output: dict[str, Any] | None) -> dict[str, Any]:
    """The fields of every report of an end; `output` is masked. Duration in seconds."""
    stdout = stderr = None
    if attempt.output.bytes_total:
        output = large_output.with_rest(output, attempt.output)
        stdout, stderr = attempt.output.summary("stdout"), attempt.output.summary("stderr")
    text = None if attempt.encoded is None else attempt.encoded.text_of(output)
    return reports.end_fields(duration, output, stdout, stderr, text=text)
