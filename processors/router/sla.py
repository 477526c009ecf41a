"""The SLA of an execution: when it is broken, which is said once."""

from __future__ import annotations

from typing import Final

from processors.router.state import Execution
from streams.control_payloads import SlaBreached
from streams.lifecycle import ENDED
from streams.timestamps import iso

#: Times in events have milliseconds: the first one that is later than the deadline.
_LATER: Final = 0.001


def sla_deadline(execution: Execution) -> float | None:
    """Until when it has to end, in Unix seconds; None where an earlier version accepted it."""
    return execution.accepted_at + execution.sla_seconds if execution.sla_seconds else None


def breach_due(execution: Execution) -> float | None:
    """When it is to be said that the SLA is broken; None where that was said."""
    deadline = sla_deadline(execution)
    return None if deadline is None or execution.sla_breached else deadline + _LATER


def breach(execution: Execution, now: float) -> SlaBreached | None:
    """What is to be said now; None where the SLA holds, the breach was said, or it has ended."""
    due = breach_due(execution)
    if due is None or now < due or execution.status in ENDED:
        return None
    deadline = iso(execution.accepted_at + execution.sla_seconds)
    return SlaBreached(execution.sla_class, execution.sla_seconds, deadline)
