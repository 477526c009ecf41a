"""What is left to every limit: the moments at which something ends unless it is over by then. Pure.

They are computed from what the events say; whoever keeps the limit (router, executor) decides.
"""

from __future__ import annotations

from typing import Any

from processors.progress.state import Progress, StepProgress
from streams.timestamps import iso

#: A `Limit` of `streams.progress`, as JSON.
LimitDocument = dict[str, Any]


def of_execution(progress: Progress, at: float) -> list[LimitDocument]:
    """Those of the execution as a whole at `at` (Unix seconds), while it lives."""
    facts, found = progress.facts, list[LimitDocument]()
    if facts.deadline is not None:
        found.append(_limit("sla", facts.deadline, at))
    wait = progress.wait
    if wait is not None and wait.reason == "approval" and wait.until is not None:
        found.append(_limit("approval_expiry", wait.until, at))
    if progress.finally_at is not None:
        found.append(_limit("finally_timeout", progress.finally_at + facts.finally_seconds, at))
    elif progress.started_at is not None and facts.timeout_seconds is not None:
        end = progress.started_at + facts.timeout_seconds + progress.paused_seconds
        if progress.paused_at is None:
            found.append(_limit("execution_timeout", end, at))
        else:
            left = round(end - progress.paused_at, 3)
            found.append({"limit": "execution_timeout", "remaining_seconds": left})
    return found


def of_step(step: StepProgress, accepted_at: float, at: float) -> list[LimitDocument]:
    """Those of one step."""
    wait = step.wait
    if wait is not None and wait.reason == "lock":
        return [] if wait.until is None else [_limit("lock_wait", wait.until, at)]
    if step.expires >= 0 and step.acting < 0 and step.status in ("dispatched", "waiting"):
        return [_limit("claim_expiry", accepted_at + step.expires, at)]
    if step.acting >= 0 and step.timeout and step.status in ("running", "cancelling"):
        return [_limit("step_timeout", accepted_at + step.acting + step.timeout, at)]
    return []


def _limit(name: str, moment: float, at: float) -> LimitDocument:
    moment = round(moment, 3)
    return {"limit": name, "remaining_seconds": round(moment - at, 3), "at": iso(moment)}
