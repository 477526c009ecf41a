"""How long steps took before: decaying log-normal moments by step, tool and target. Pure.

It is made from executions that have ended, and from nothing else: what their last snapshots say is
all that is needed, so the progress topic is its store too. Memory is bounded: of each kind the
`MOST_NAMES` names that were met last are remembered.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from processors.progress.state import STEPS_SHOWN, Progress
from streams.progress import ProgressSnapshot

#: Names of each kind that are remembered.
MOST_NAMES: Final = 50_000
#: Durations that count: an older one weighs less with each that follows it.
WINDOW: Final = 64
#: What is shorter counts as this: the logarithm of 0 is none.
SHORTEST: Final = 0.001

#: How different two runs of the same step are where nothing is known of it, as the variance of the
#: logarithm, and how many durations it takes to believe something else.
_WITHIN: Final = 0.25
_BELIEF: Final = 2.0
#: The same for all the steps of a tool, which do different things.
_BETWEEN: Final = 1.0
#: Durations that it takes to believe that a target is faster or slower than others.
_TARGET_BELIEF: Final = 3.0
_NUMBERS: Final = re.compile(r"\[\d+\]")


class Moments(NamedTuple):
    """Of logarithms of seconds: how many, up to the window, their mean and their variance."""

    seen: float = 0.0
    mean: float = 0.0
    variance: float = 0.0

    def add(self, value: float) -> Moments:
        """With one more, of which the newest count most (West 1979, with a bounded weight)."""
        seen = min(self.seen + 1.0, WINDOW)
        rate, off = 1.0 / seen, value - self.mean
        variance = (1.0 - rate) * (self.variance + rate * off * off)
        return Moments(seen, self.mean + rate * off, variance)


class Expected(NamedTuple):
    """A log-normal duration: mean and variance of its logarithm."""

    mean: float
    variance: float


class Taught(NamedTuple):
    """What one ended step teaches."""

    step: str
    tool: str
    target: str | None
    seconds: float
    container: bool


class _Names:
    """Moments by name; the name that was met longest ago is forgotten first."""

    def __init__(self) -> None:
        self._of: OrderedDict[tuple[str, ...], Moments] = OrderedDict()

    def get(self, name: tuple[str, ...]) -> Moments | None:
        return self._of.get(name)

    def add(self, name: tuple[str, ...], value: float) -> None:
        self._of[name] = self._of.get(name, _NOTHING).add(value)
        self._of.move_to_end(name)
        if len(self._of) > MOST_NAMES:
            self._of.popitem(last=False)

    def __len__(self) -> int:
        return len(self._of)


_NOTHING: Final = Moments()


class DurationHistory:
    """What is expected of a step, from executions of its tenant that have ended."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        #: By tenant, plan (procedure, else its name) and path of the step.
        self._steps = _Names()
        self._tools = _Names()
        #: How much longer than expected what acts on a target takes.
        self._targets = _Names()
        #: What is expected of steps, until they are met again.
        self._blends: dict[tuple[str, str, str], Expected] = {}

    def __len__(self) -> int:
        """How many names are known."""
        return len(self._steps) + len(self._tools) + len(self._targets)

    def expected(
        self, tenant: str, plan: str | None, path: str, tool: str, target: str | None
    ) -> Expected | None:
        """What the step takes, without the time that it is held; None where nothing is known.

        The step's own durations count the more, the more they are and the less its tool says.
        """
        found = self._of_step(tenant, plan, path, tool)
        if found is None or target is None:
            return found
        off = self._targets.get((tenant, target))
        if off is None:
            return found
        return Expected(found.mean + off.mean * off.seen / (off.seen + _TARGET_BELIEF), found[1])

    def knows_step(self, tenant: str, plan: str | None, path: str) -> bool:
        """Whether this very step was met before."""
        return plan is not None and self._steps.get((tenant, plan, path)) is not None

    def _of_step(self, tenant: str, plan: str | None, path: str, tool: str) -> Expected | None:
        if plan is None or (own := self._steps.get((tenant, plan, path))) is None:
            return self._of_tool(tenant, tool)
        name = (tenant, plan, path)
        found = self._blends.get(name)
        if found is None:
            if len(self._blends) >= MOST_NAMES:
                self._blends.clear()
            found = self._blends[name] = blended(self._of_tool(tenant, tool), own)
        return found

    def _of_tool(self, tenant: str, tool: str) -> Expected | None:
        known = self._tools.get((tenant, tool)) if tool else None
        return None if known is None else _predicted(known, _BETWEEN)

    def teach(self, tenant: str, plan: str | None, steps: Iterable[Taught]) -> None:
        """An execution has ended, of which these steps have succeeded."""
        for one in steps:
            value = math.log(max(one.seconds, SHORTEST))
            path = path_of(one.step)
            if one.target is not None and not one.container:
                before = self._of_step(tenant, plan, path, one.tool)
                if before is not None:
                    self._targets.add((tenant, one.target), value - before.mean)
            if plan is not None:
                self._steps.add((tenant, plan, path), value)
                self._blends.pop((tenant, plan, path), None)
            if not one.container and one.tool:
                self._tools.add((tenant, one.tool), value)

    def observe(self, progress: Progress) -> None:
        """An execution has ended."""
        facts = progress.facts
        steps = [
            Taught(
                name,
                step.tool,
                step.target,
                step.ended - step.begun - step.held,
                step.children > 0,
            )
            for name, step in islice(progress.steps.items(), STEPS_SHOWN)
            if step.status == "succeeded" and step.begun >= 0
        ]
        self.teach(facts.tenant, facts.plan, steps)

    def observe_snapshot(self, ended: ProgressSnapshot) -> None:
        """The same, of the last snapshot of an execution."""
        steps = [
            Taught(
                step.step,
                step.tool,
                step.target,
                step.duration_seconds - (step.held_seconds or 0.0),
                step.children > 0,
            )
            for step in ended.steps
            if step.status == "succeeded" and step.duration_seconds is not None
        ]
        self.teach(ended.tenant, ended.procedure or ended.name, steps)


@lru_cache(maxsize=65_536)
def path_of(step: str) -> str:
    """Where the plan has the step: `scan[]` for each `scan[3]`."""
    return _NUMBERS.sub("[]", step) if "[" in step else step


def blended(general: Expected | None, own: Moments) -> Expected:
    """What is expected of something of which these durations are known, and of its kind `general`.

    A normal mean with a normal prior: its kind says where it may lie, its durations where it does.
    """
    if general is None:
        return _predicted(own, _WITHIN)
    within = (own.seen * own.variance + _BELIEF * _WITHIN) / (own.seen + _BELIEF)
    of_mean = within / own.seen
    weight = general.variance / (general.variance + of_mean)
    mean = weight * own.mean + (1.0 - weight) * general.mean
    return Expected(mean, within + weight * of_mean)


def _predicted(known: Moments, prior: float) -> Expected:
    variance = (known.seen * known.variance + _BELIEF * prior) / (known.seen + _BELIEF)
    return Expected(known.mean, variance * (1.0 + 1.0 / known.seen))
