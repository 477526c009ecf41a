"""The state of the progress fold: what must be remembered of one execution, and no more.

It is small (about 1.5 KB for five steps), because it is a header of each snapshot: the compacted
progress topic is also the store from which a restart goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern
from typing import Any, Final, NamedTuple

import orjson

#: The layout of the packed state; another one is not read, and what it held counts as a gap.
_LAYOUT: Final = 2


class StepProgress(NamedTuple):
    """One step; `children` > 0 where `for_each` has turned it into that many steps."""

    tool: str
    status: str = "pending"
    attempt: int = 0
    percent: int = 0
    message: str | None = None
    children: int = 0


class Durations(NamedTuple):
    """Durations of the ended steps in seconds: count, mean and sum of squares (Welford 1962)."""

    ended: int = 0
    mean: float = 0.0
    squares: float = 0.0
    last_end: float = 0.0

    def add(self, seconds: float, at: float) -> Durations:
        """One more step that took `seconds` and ended at `at` (Unix seconds)."""
        ended = self.ended + 1
        before = seconds - self.mean
        mean = self.mean + before / ended
        squares = self.squares + before * (seconds - mean)
        return Durations(ended, mean, squares, max(at, self.last_end))


NO_DURATIONS: Final = Durations()


@dataclass(frozen=True, slots=True)
class Facts:
    """What never changes after the first event; times are Unix seconds."""

    execution_id: str
    tenant: str
    name: str | None
    accepted_at: float
    sla_class: str | None
    deadline: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress after event `seq`; `percent` is in tenths, so that 1000 is the end.

    `points` is the sum of the step percentages and `total` the number of steps that count: those
    that are not `for_each` parents.
    """

    facts: Facts
    seq: int
    status: str
    steps: dict[str, StepProgress]
    total: int
    updated_at: float
    points: int = 0
    percent: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    breached: bool = False
    durations: Durations = NO_DURATIONS


def pack(progress: Progress) -> bytes:
    """The state as compact UTF-8 JSON; `unpack` gives an equal state back."""
    facts = progress.facts
    given: list[Any] = [facts.execution_id, facts.tenant, facts.name]
    given += [facts.accepted_at, facts.sla_class, facts.deadline]
    changing: list[Any] = [progress.seq, progress.status, progress.total]
    changing += [progress.updated_at, progress.points]
    changing += [progress.percent, progress.started_at, progress.ended_at]
    changing += [progress.breached]
    steps = [[step, *state] for step, state in progress.steps.items()]
    return orjson.dumps([_LAYOUT, given, changing, list(progress.durations), steps])


def unpack(raw: bytes) -> Progress:
    """The state that `pack` wrote; raises ValueError where it is another layout or damaged."""
    try:
        layout, facts, changing, durations, steps = orjson.loads(raw)
        if layout != _LAYOUT:
            raise ValueError(f"it has layout {layout}, not {_LAYOUT}")
        seq, status, total, updated_at, points, percent, started, ended, breached = changing
        return Progress(
            facts=Facts(facts[0], intern(facts[1]), *facts[2:]),
            seq=seq,
            status=intern(status),
            steps={
                intern(step): StepProgress(intern(tool), intern(step_status), *rest)
                for step, tool, step_status, *rest in steps
            },
            total=total,
            updated_at=updated_at,
            points=points,
            percent=percent,
            started_at=started,
            ended_at=ended,
            breached=breached,
            durations=Durations(*durations),
        )
    except (TypeError, IndexError, ValueError) as error:
        raise ValueError(f"progress state cannot be read: {error}") from None
