"""Executions that never ran: event logs with log-normal durations, retries and waits, seeded.

They imitate an operations team: a few dozen procedures made of tools whose durations differ by
orders of magnitude, some steps in parallel, lists of hosts with so many at once, targets that are
slower than others, runs that are slower as a whole, attempts that fail and are repeated, locks that
others hold. Nothing of how they are drawn is known to what is measured with them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from streams.admitted import AdmittedPlan, AdmittedStep
from streams.events import Event
from streams.payloads import (
    Accepted,
    Dispatched,
    Ended,
    Expanded,
    Nothing,
    Payload,
    RetryScheduled,
    StepFailed,
    StepStarted,
    StepSucceeded,
    Waiting,
)
from streams.timestamps import iso

START: Final = 1_800_000_000.0
_PROCEDURES: Final = 60
_TOOLS: Final = 40
_TARGETS: Final = 50
_FAILS: Final = 0.06
_LOCKED: Final = 0.03


@dataclass(frozen=True, slots=True)
class Kind:
    """One step of a procedure; seconds are those of its median run."""

    tool: int
    seconds: float
    spread: float
    after: tuple[int, ...]
    items: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True)
class Procedure:
    """A plan that is run again and again, or once where it has no name."""

    name: str | None
    steps: tuple[Kind, ...]


@dataclass(slots=True)
class Run:
    """The events of one execution in the order of time, and when it was to end."""

    events: list[Event] = field(default_factory=list)
    sla_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """From its acceptance to its end."""
        return self.events[-1].unix() - self.events[0].unix()


class World:
    """Draws procedures once, and runs of them as often as asked."""

    def __init__(self, seed: int) -> None:
        """The same seed gives the same runs."""
        self._draw = Random(seed)
        self._tools = [
            (self._draw.uniform(math.log(0.5), math.log(90.0)), self._draw.uniform(0.15, 0.6))
            for _ in range(_TOOLS)
        ]
        self._slowness = [self._draw.gauss(0.0, 0.25) for _ in range(_TARGETS)]
        self._procedures = [self._procedure(f"procedure-{n}") for n in range(_PROCEDURES)]
        self._typical: dict[str, float] = {}
        self._number = 0

    def runs(self, count: int) -> Iterator[Run]:
        """So many executions one after the other; few procedures make most of them."""
        weights = [1.0 / (1 + number) ** 0.7 for number in range(_PROCEDURES)]
        for _ in range(count):
            if self._draw.random() < 0.1:
                procedure = self._procedure(None)
            else:
                (procedure,) = self._draw.choices(self._procedures, weights)
            yield self._run(procedure)

    def _procedure(self, name: str | None) -> Procedure:
        draw, steps = self._draw, list[Kind]()
        shape = draw.choice(("sequence", "sequence", "graph", "fan"))
        for number in range(draw.randint(2, 12)):
            tool = draw.randrange(_TOOLS)
            mean, spread = self._tools[tool]
            most = min(number, 2 if shape == "graph" else 1)
            after = tuple(sorted(draw.sample(range(number), draw.randint(0, most))))
            if shape == "sequence":
                after = tuple(range(max(0, number - 1), number))
            items = draw.randint(3, 20) if draw.random() < 0.15 else 0
            width = draw.choice((0, 2, 5)) if items else 0
            seconds = math.exp(mean + draw.gauss(0.0, 0.6))
            steps.append(Kind(tool, seconds, spread, after, items, width))
        return Procedure(name, tuple(steps))

    def _run(self, procedure: Procedure) -> Run:
        self._number += 1
        ident = f"{self._number:08x}-0000-8000-8000-{self._number:012x}"
        pace = self._draw.gauss(0.0, 0.15)
        timeline = _Timeline(self._draw, self._slowness, procedure, pace)
        ended = timeline.end()
        typical = self._typical.get(procedure.name or "", ended)
        sla = round(max(5.0, typical * self._draw.uniform(0.9, 1.6)), 3)
        if procedure.name is not None:
            before = self._typical.get(procedure.name, ended)
            self._typical[procedure.name] = 0.7 * before + 0.3 * ended
        run = Run(sla_seconds=sla)
        drawn: list[_Drawn] = [
            (0.0, "execution.accepted", None, None, _accepted(procedure, sla)),
            (0.01, "execution.started", None, None, Nothing()),
            *timeline.events,
            (ended, "execution.completed", None, None, Ended({}, ended)),
        ]
        begun = START + 10.0 * self._number
        for number, (after, kind, step, attempt, data) in enumerate(drawn, start=1):
            at = iso(round(begun + after, 3))
            run.events.append(Event(ident, number, kind, at, "acme", data, step, attempt))
        return run


_Drawn = tuple[float, str, str | None, int | None, Payload]


class _Timeline:
    """What happens in one run, by a clock of its own."""

    def __init__(
        self, draw: Random, slowness: list[float], procedure: Procedure, pace: float
    ) -> None:
        self.events: list[_Drawn] = []
        self._draw = draw
        self._slowness = slowness
        self._pace = pace
        self._ends: dict[int, float] = {}
        for number, kind in enumerate(procedure.steps):
            begins = max((self._ends[one] for one in kind.after), default=0.01)
            self._ends[number] = self._step(f"step_{number}", kind, begins)
        # Sorted by time; what was drawn first comes first where two are at one time.
        self.events.sort(key=lambda one: round(one[0], 3))

    def end(self) -> float:
        """When the last step ended."""
        return max(self._ends.values()) + 0.01

    def _step(self, name: str, kind: Kind, begins: float) -> float:
        if not kind.items:
            return self._attempts(name, kind, begins)
        names = [f"{name}[{number}]" for number in range(kind.items)]
        self.events.append((begins, "step.expanded", name, None, Expanded(kind.items, names, [])))
        places = [begins] * (kind.width or kind.items)
        for item in names:
            free = heapq.heappop(places)
            heapq.heappush(places, self._attempts(item, kind, free))
        ended = max(places)
        self.events.append((ended, "step.succeeded", name, None, StepSucceeded(ended - begins)))
        return ended

    def _attempts(self, name: str, kind: Kind, at: float) -> float:
        draw, attempt = self._draw, 1
        target = draw.randrange(len(self._slowness))
        if draw.random() < _LOCKED:
            self.events.append((at, "step.waiting", name, None, Waiting("lock", "it is locked")))
            at += draw.lognormvariate(math.log(15.0), 1.0)
        while True:
            limits = (60.0, 15.0, iso(START + 1e6))
            sent = Dispatched(
                f"tool-{kind.tool}", "test", "steps.test", {}, *limits, f"host-{target}"
            )
            self.events.append((at, "step.dispatched", name, attempt, sent))
            at += 0.02
            self.events.append((at, "step.started", name, attempt, StepStarted("e1")))
            mean = math.log(kind.seconds) + self._pace + self._slowness[target]
            seconds = draw.lognormvariate(mean, kind.spread)
            if attempt == 3 or draw.random() >= _FAILS:
                at += seconds
                done = StepSucceeded(seconds)
                self.events.append((at, "step.succeeded", name, attempt, done))
                return at
            at += seconds * draw.random()
            failed = StepFailed(seconds, {"class": "exit", "message": "no"}, final=False)
            self.events.append((at, "step.failed", name, attempt, failed))
            delay = 2.0 * attempt
            retry = RetryScheduled(attempt + 1, 3, delay, iso(START))
            self.events.append((at, "step.retry_scheduled", name, attempt, retry))
            at += delay
            attempt += 1


def _accepted(procedure: Procedure, sla_seconds: float) -> Accepted:
    steps = tuple(
        AdmittedStep(
            id=f"step_{number}",
            tool=f"tool-{kind.tool}",
            domain="test",
            parameters={},
            timeout_seconds=60.0,
            lease_seconds=15.0,
            max_attempts=3,
            backoff_seconds=1.0,
            max_backoff_seconds=10.0,
            retry_safe=True,
            depends_on=tuple(f"step_{one}" for one in kind.after),
            for_each="steps.hosts.output" if kind.items else None,
            max_parallel=kind.width or None,
        )
        for number, kind in enumerate(procedure.steps)
    )
    return Accepted(
        plan=AdmittedPlan(procedure.name, steps),
        plan_hash="-",
        actor="ci",
        environment="dev",
        idempotency_key="-",
        sla_class="long",
        mode="background",
        action_class="read",
        priority=5,
        timeout_seconds=36_000.0,
        sla_seconds=sla_seconds,
        approval_level=0,
        name=procedure.name,
    )
