"""The state of the progress fold: what must be remembered of one execution, and no more.

It is small (about 1.5 KB for five steps), because it is a header of each snapshot: the compacted
progress topic is also the store from which a restart goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from sys import intern
from typing import Any, Final, NamedTuple

import orjson

from processors.progress.graph import Node, packed_graph, unpacked_graph
from streams.waits import WAIT_REASONS, Wait

#: The layout of the packed state. The one before has less at the end of each part and is read too;
#: of any other what it held counts as a gap.
_LAYOUT: Final = 3
_READ: Final = (2, _LAYOUT)
#: The steps that a snapshot shows.
STEPS_SHOWN: Final = 200
_LATER: Final = (None, None, 0.0, None, None)
_GRAPH: Final = 10


class StepProgress(NamedTuple):
    """One step; `children` > 0 where `for_each` or a block has turned it into that many steps.

    Times are seconds after the execution was accepted; -1 stands for never. `percent` is what the
    attempt has reported, 100 at the end.
    """

    tool: str
    status: str = "pending"
    attempt: int = 0
    percent: int = 0
    message: str | None = None
    children: int = 0
    #: When its first attempt was dispatched, or its items began.
    begun: float = -1.0
    ended: float = -1.0
    #: Of the waits that are over, in seconds: all of them, and those of `HELD_BACK`.
    waited: float = 0.0
    held: float = 0.0
    wait: Wait | None = None
    target: str | None = None
    #: When the time limit of the attempt began, and what it is.
    acting: float = -1.0
    timeout: float = 0.0
    #: When the command of the attempt expires unclaimed.
    expires: float = -1.0
    #: The attempts that succeeded while `until` was not true.
    polls: int = 0


#: Waits for what others have: no part of what the step itself takes.
HELD_BACK: Final = frozenset(
    {"lock", "no_executor", "rate_limit", "target_limit", "needs_attention"}
)
_ENDED: Final = StepProgress._fields.index("ended")
_MESSAGE: Final = StepProgress._fields.index("message")
_WAIT: Final = StepProgress._fields.index("wait")
_TARGET: Final = StepProgress._fields.index("target")


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
    """What never changes after the first event; times are Unix seconds.

    `graph` has the steps of the plan in their order, those of `finally` from `finally_from` on; it
    is empty where nothing is known of it, or where the plan has too many edges to be carried along.
    """

    execution_id: str
    tenant: str
    name: str | None
    accepted_at: float
    sla_class: str | None
    deadline: float | None
    procedure: str | None = None
    timeout_seconds: float | None = None
    finally_seconds: float = 0.0
    finally_from: int = 0
    graph: tuple[Node, ...] = ()

    @property
    def plan(self) -> str | None:
        """What its runs have in common: the procedure, else the name of the plan."""
        return self.procedure or self.name


@dataclass(slots=True)
class Progress:
    """Progress after event `seq`; `percent` is in tenths, so that 1000 is the end.

    It is never changed in place; that dataclasses enforce it would cost a tenth of each fold.
    `percent` is the highest that was shown so far. `points` is the sum of the step percentages and
    `total` the number of steps that count: those without steps within them.
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
    #: When the steps of `finally` began.
    finally_at: float | None = None
    #: While it is paused or needs attention: since when. Then its time limit stands still.
    paused_at: float | None = None
    paused_seconds: float = 0.0
    #: Of the execution as a whole.
    wait: Wait | None = None
    #: Seconds by reason, of the waits that are over.
    waited: dict[str, float] | None = None
    durations: Durations = NO_DURATIONS


def pack(progress: Progress) -> bytes:
    """The state as compact UTF-8 JSON; `unpack` gives an equal state back."""
    facts = progress.facts
    given: list[Any] = [facts.execution_id, facts.tenant, facts.name]
    given += [facts.accepted_at, facts.sla_class, facts.deadline]
    given += [facts.procedure, facts.timeout_seconds, facts.finally_seconds, facts.finally_from]
    given += [packed_graph(facts.graph)]
    changing: list[Any] = [progress.seq, progress.status, progress.total]
    changing += [progress.updated_at, progress.points]
    changing += [progress.percent, progress.started_at, progress.ended_at]
    changing += [progress.breached, progress.finally_at, progress.paused_at]
    changing += [progress.paused_seconds, _packed_wait(progress.wait), progress.waited]
    steps = [
        _packed_step(step, state, number < STEPS_SHOWN)
        for number, (step, state) in enumerate(progress.steps.items())
    ]
    return orjson.dumps([_LAYOUT, given, changing, list(progress.durations), steps])


def unpack(raw: bytes) -> Progress:
    """The state that `pack` wrote; raises ValueError where it is another layout or damaged."""
    try:
        layout, facts, changing, durations, steps = orjson.loads(raw)
        if layout not in _READ:
            raise ValueError(f"it has layout {layout}, not {_LAYOUT}")
        seq, status, total, updated_at, points, percent, started, ended, breached = changing[:9]
        finally_at, paused_at, paused_seconds, wait, waited = changing[9:] or _LATER
        tenant, *more = facts[1:_GRAPH]
        known = Facts(facts[0], intern(tenant), *more)
        if len(facts) > _GRAPH:
            known = replace(known, graph=unpacked_graph(facts[_GRAPH]))
        return Progress(
            facts=known,
            seq=seq,
            status=intern(status),
            steps={intern(step): _step(*rest) for step, *rest in steps},
            total=total,
            updated_at=updated_at,
            points=points,
            percent=percent,
            started_at=started,
            ended_at=ended,
            breached=breached,
            finally_at=finally_at,
            paused_at=paused_at,
            paused_seconds=paused_seconds,
            wait=_wait(wait),
            waited=waited,
            durations=Durations(*durations),
        )
    except (TypeError, IndexError, ValueError) as error:
        raise ValueError(f"progress state cannot be read: {error}") from None


def _packed_step(step: str, state: StepProgress, shown: bool) -> list[Any]:
    """Without the values at its end that are the defaults: most steps have not begun, or ended.

    What is never shown needs no message and no target.
    """
    packed: list[Any] = [step, *state[: _fields(state)]]
    if not shown:
        packed[1 + _MESSAGE] = None
        if len(packed) > 1 + _TARGET:
            packed[1 + _TARGET] = None
    if state.wait is not None:
        packed[1 + _WAIT] = _packed_wait(state.wait if shown else state.wait._replace(message=""))
    return packed


def _fields(state: StepProgress) -> int:
    """How many fields there are up to the last one that is no default."""
    if state.expires >= 0 or state.polls or state.timeout or state.acting >= 0:
        return len(state)
    if state.target is not None or state.wait is not None or state.held or state.waited:
        return _TARGET + 1
    if state.begun >= 0 or state.ended >= 0 or state.children:
        return _ENDED + 1
    return _MESSAGE + 1


def _step(tool: str, status: str = "pending", *rest: Any) -> StepProgress:
    state = StepProgress(intern(tool), intern(status), *rest)
    return state if state.wait is None else state._replace(wait=_wait(state.wait))


def _packed_wait(wait: Wait | None) -> list[Any] | None:
    return None if wait is None else [WAIT_REASONS.index(wait.reason), *wait[1:]]


def _wait(packed: Any) -> Wait | None:
    if packed is None:
        return None
    reason, message, since, until = packed
    return Wait(WAIT_REASONS[reason], message, since, until)
