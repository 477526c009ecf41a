"""The reference rules: SLA class, mode, action class, timeouts, priority and attempts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

#: Seconds a step is expected to take where its tool says nothing else.
DEFAULT_ESTIMATE: Final = 2.0

#: A dead executor must be noticed while somebody still waits; the heartbeat makes longer leases
#: needless, so the reference matrix is capped.
MAX_LEASE_SECONDS: Final = 60.0

#: An execution whose first step no executor claims ends after this long.
QUEUE_SECONDS: Final = 3_600.0

#: The locks of an execution are others' after this long without a renewal by the router.
LOCK_LEASE_SECONDS: Final = 60.0
#: A step that waits for a lock fails after this long.
LOCK_WAIT_SECONDS: Final = 3_600.0

#: An attempt that its executor neither ends nor loses is given up this long after its timeout.
OVERDUE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Timings:
    """One row of the timeout matrix, in seconds."""

    step: float
    execution: float
    lease: float
    approval: float


_MATRIX: Final[dict[tuple[str, str], Timings]] = {
    ("fast", "read"): Timings(5, 10, 15, 300),
    ("fast", "modify"): Timings(8, 15, 20, 600),
    ("fast", "deploy"): Timings(10, 20, 30, 900),
    ("medium", "read"): Timings(15, 30, 45, 600),
    ("medium", "modify"): Timings(20, 45, 60, 900),
    ("medium", "deploy"): Timings(30, 60, 90, 1_800),
    ("long", "read"): Timings(60, 300, 360, 1_800),
    ("long", "modify"): Timings(120, 600, 720, 3_600),
    ("long", "deploy"): Timings(300, 1_800, 2_160, 7_200),
}
_ATTEMPTS: Final = {"fast": 2, "medium": 3, "long": 5}
_PRIORITY: Final = {"fast": 1, "medium": 5, "long": 10}
_SEVERITY: Final = {"read": 0, "modify": 1, "deploy": 2}


def sla_class(estimated_seconds: float) -> str:
    """fast below 10 s, medium below 30 s, else long."""
    if estimated_seconds < 10:
        return "fast"
    return "medium" if estimated_seconds < 30 else "long"


def mode(sla: str) -> str:
    """A fast plan is answered at once, everything else runs in the background."""
    return "immediate" if sla == "fast" else "background"


def action_class(stated: str | None, plan_type: str | None, tool_classes: Iterable[str]) -> str:
    """The heaviest of what the plan states, what the words of its type say, and its tools.

    What a plan says of itself can only make it heavier: shorter times and another place in the
    statistics are not the author's to choose.
    """
    said = [stated or "read", "read" if plan_type is None else _class_of_type(plan_type)]
    return max([*said, *tool_classes], key=lambda name: _SEVERITY[name])


def _class_of_type(plan_type: str) -> str:
    """What the words of a plan's type say."""
    words = plan_type.lower()
    if any(word in words for word in ("read", "query", "get")):
        return "read"
    if any(word in words for word in ("deploy", "install", "create")):
        return "deploy"
    return "modify"


def timings(sla: str, action: str) -> Timings:
    """The row of the timeout matrix."""
    return _MATRIX[sla, action]


def lease_seconds(sla: str, action: str) -> float:
    """How long a claim is good without a heartbeat."""
    return min(_MATRIX[sla, action].lease, MAX_LEASE_SECONDS)


def execution_timeout(sla: str, action: str, step_timeouts: list[float]) -> float:
    """The sum of the step timeouts and 10 %, at least what the matrix says."""
    return max(_MATRIX[sla, action].execution, float(int(sum(step_timeouts) * 1.1)))


def sla_seconds(sla: str, timeout: float) -> float:
    """When the promise of the class is broken: 10 s, 30 s, or for long plans their timeout."""
    return {"fast": 10.0, "medium": 30.0}.get(sla, timeout)


def max_attempts(sla: str, wanted: int | None) -> int:
    """Two, three or five attempts by class; a plan may only ask for fewer."""
    return min(_ATTEMPTS[sla], wanted or _ATTEMPTS[sla])


def priority(sla: str) -> int:
    """1 is the most urgent, 10 the least."""
    return _PRIORITY[sla]


def backoff_seconds(base: float, cap: float, attempt: int, jitter: float) -> float:
    """The wait before the attempt after `attempt`: doubled each time, capped, and spread by ±20 %.

    `jitter` is between 0 and 1 and derived from the attempt id, so that a replay decides the same.
    """
    delay: float = min(cap, base * 2.0 ** (attempt - 1))
    return round(delay * (0.8 + 0.4 * jitter), 3)
