"""The forecast: how long what is left of an execution takes, from earlier runs and from this one.

The plan is gone through once: each step ends after the last of those that it waits for, as long
after as such steps take, and the items of `for_each` run so many at once. Mean and variance are
carried along, so the figure comes with its error. What steps of this run took compared with what
was expected (its pace) counts for the rest of them. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Final, NamedTuple

from processors.progress.graph import Node
from processors.progress.history import (
    SHORTEST,
    DurationHistory,
    Expected,
    Moments,
    blended,
    path_of,
)
from processors.progress.lognormal import (
    NONE,
    Remaining,
    later,
    remaining,
    shown,
    side_by_side,
    with_report,
)
from processors.progress.state import HELD_BACK, Progress, StepProgress
from streams.lifecycle import STEP_ENDED

#: Ended steps that it takes to believe that this run is faster or slower than others.
_PACE_BELIEF: Final = 3.0
#: What one step counts for that at most, as the logarithm of a factor.
_MOST_PACE: Final = 1.0
#: How different steps are of which only the others of this run are known.
_UNKNOWN_VARIANCE: Final = 1.0
#: Attempts that have waited so long for an executor say that no more of them run at once.
_QUEUED_SECONDS: Final = 1.0
_DONE_PERCENT: Final = 99


class StepForecast(NamedTuple):
    """Of one step that is under way: what is left, and how much of its work is done."""

    left: Remaining
    percent: int


class Forecast(NamedTuple):
    """Of an execution: seconds until its end, their error, its percent in tenths, its steps."""

    eta: float
    error: float
    percent: int
    steps: dict[str, StepForecast]


class _Sum:
    """Logarithms of durations, added up."""

    __slots__ = ("seen", "squares", "total")

    def __init__(self) -> None:
        self.seen, self.total, self.squares = 0, 0.0, 0.0

    def add(self, value: float) -> None:
        self.seen += 1
        self.total += value
        self.squares += value * value

    def moments(self) -> Moments:
        mean = self.total / self.seen
        return Moments(self.seen, mean, max(0.0, self.squares / self.seen - mean * mean))


@dataclass(slots=True)
class _Run:
    """What is worked with for one snapshot; `now` is in seconds after the acceptance."""

    progress: Progress
    history: DurationHistory
    now: float
    names: list[str]
    states: list[StepProgress]
    #: By path and by tool, of the steps that have ended in this run.
    own: dict[str, _Sum] = field(default_factory=dict)
    own_tools: dict[str, _Sum] = field(default_factory=dict)
    #: By position: what earlier runs say of the steps that have not ended, without this run's pace.
    found: dict[int, Expected] = field(default_factory=dict)
    pace: float = 0.0
    #: What a step takes of which nothing is known.
    usual: Expected | None = None
    done: float = 0.0
    left: float = 0.0
    steps: dict[str, StepForecast] = field(default_factory=dict)
    #: By what it depends on: what a step takes that has not begun.
    whole: dict[tuple[str, str, str | None], tuple[Expected, Remaining] | None] = field(
        default_factory=dict
    )

    def unknown_list(self, number: int) -> bool:
        """Whether no earlier run says what this list as a whole takes."""
        facts = self.progress.facts
        return not self.history.knows_step(facts.tenant, facts.plan, path_of(self.names[number]))


def forecast(progress: Progress, now: float, history: DurationHistory) -> Forecast | None:
    """What is expected at `now` (Unix seconds); None where earlier runs say nothing of the rest."""
    if not len(history):
        return None
    names, states = list(progress.steps), list(progress.steps.values())
    run = _Run(progress, history, now - progress.facts.accepted_at, names, states)
    if not _known(run):
        return None
    end = _whole(run)
    eta, error = shown(end)
    whole = run.done + run.left
    percent = int(1000.0 * run.done / whole) if whole > 0.0 else 0
    return Forecast(eta, error, percent, run.steps)


def _known(run: _Run) -> bool:
    """Gather what this run says of itself; whether history says something of what is left."""
    facts, expected = run.progress.facts, run.history.expected
    off, ended, tenant, plan = 0.0, 0, facts.tenant, facts.plan
    seen: dict[tuple[str, str, str | None], Expected | None] = {}
    for number, state in enumerate(run.states):
        over = state.status in STEP_ENDED
        if over and (state.children or state.begun < 0 or state.status != "succeeded"):
            continue
        path = path_of(run.names[number])
        key = (path, state.tool, state.target)
        if key in seen:
            found = seen[key]
        else:
            found = seen[key] = expected(tenant, plan, *key)
        if over:
            value = math.log(max(state.ended - state.begun - state.held, SHORTEST))
            run.own.setdefault(path, _Sum()).add(value)
            run.own_tools.setdefault(state.tool, _Sum()).add(value)
            if found is not None:
                # One step that did something else than usual is no pace.
                off += max(-_MOST_PACE, min(_MOST_PACE, value - found.mean))
                ended += 1
        elif found is not None:
            run.found[number] = found
    if not run.found:
        return False
    run.pace = off / (ended + _PACE_BELIEF)
    mean = sum([one.mean for one in run.found.values()]) / len(run.found)
    run.usual = Expected(mean + run.pace, _UNKNOWN_VARIANCE)
    return True


def _duration(run: _Run, number: int) -> tuple[Expected, Remaining] | None:
    """What the step takes: by earlier runs, at this run's pace, and by its like in this run."""
    state = run.states[number]
    path = path_of(run.names[number])
    key = (path, state.tool, state.target)
    if key not in run.whole:
        expected = _expected(run, number, path)
        run.whole[key] = None if expected is None else (expected, remaining(expected, 0.0))
    return run.whole[key]


def _expected(run: _Run, number: int, path: str) -> Expected | None:
    found, own = run.found.get(number), run.own.get(path)
    if own is not None:
        return blended(found, own.moments())
    if found is not None:
        return Expected(found.mean + run.pace, found.variance)
    like = run.own_tools.get(run.states[number].tool)
    return run.usual if like is None else Expected(like.moments().mean, _UNKNOWN_VARIANCE)


def _whole(run: _Run) -> Remaining:
    """Until the last step ends, those of `finally` after all others."""
    facts = run.progress.facts
    tops = list(_scope(run, 0, len(run.states)))
    plan, nodes = len(facts.graph), facts.graph
    if not plan:
        return side_by_side([_subtree(run, top, Node()) for top in tops], 0)
    first = facts.finally_from
    end = _ordered(run, tops[:first], nodes[:first])
    for top in tops[plan:]:  # What undoes a step.
        end = later(end, _subtree(run, top, Node()))
    if first < plan:
        end = end.then(_ordered(run, tops[first:plan], nodes[first:]))
    return end


def _scope(run: _Run, first: int, last: int) -> Iterator[int]:
    """The positions of the steps in `first` to `last` that are within no other one of these.

    The steps within a step follow it, so their order and numbers are all that is needed.
    """
    number = first
    while number < last:
        yield number
        number = _behind(run, number)


def _behind(run: _Run, number: int) -> int:
    """The position behind the step and everything within it."""
    left = 1
    while left and number < len(run.states):
        left += run.states[number].children - 1
        number += 1
    return number


def _ordered(run: _Run, tops: list[int], nodes: Sequence[Node]) -> Remaining:
    """The end of the last of these steps, each of which waits for others."""
    ends: dict[int, Remaining] = {}
    last = NONE
    for place in _order(nodes):
        if place >= len(tops):
            continue
        start = NONE
        for before in nodes[place].after:
            start = later(start, ends.get(before, NONE))
        ends[place] = start.then(_subtree(run, tops[place], nodes[place]))
        last = later(last, ends[place])
    return last


def _order(nodes: Sequence[Node]) -> Sequence[int]:
    if all(not node.after or max(node.after) < place for place, node in enumerate(nodes)):
        return range(len(nodes))
    waits = {place: node.after for place, node in enumerate(nodes)}
    return list(TopologicalSorter(waits).static_order())


def _subtree(run: _Run, number: int, node: Node) -> Remaining:
    """The step, with all that is within it, from when it may begin to its end."""
    state = run.states[number]
    if state.status in STEP_ENDED:
        if not state.children and state.begun >= 0:
            run.done += max(0.0, state.ended - state.begun - state.held)
        elif state.children:
            _count_ended(run, number)
        return NONE
    if not state.children:
        return _leaf(run, number, node)
    within = list(_scope(run, number + 1, _behind(run, number)))
    done, left = run.done, run.left
    if run.names[within[0]].endswith("]"):
        one = Node((), 0, node.inner)
        each = [_subtree(run, top, one) for top in within]
        end = side_by_side([rest for rest in each if rest.mean > 0.0], _width(run, within, node))
    elif len(node.inner) == len(within):
        end = _ordered(run, within, node.inner)
    else:
        end = side_by_side([_subtree(run, top, Node()) for top in within], 0)
    done, left = run.done - done, run.left - left
    percent = min(_DONE_PERCENT, int(100.0 * done / (done + left))) if done + left > 0.0 else 0
    run.steps[run.names[number]] = StepForecast(end, percent)
    return end


def _count_ended(run: _Run, number: int) -> None:
    for state in run.states[number + 1 : _behind(run, number)]:
        if not state.children and state.begun >= 0 and state.ended >= 0:
            run.done += max(0.0, state.ended - state.begun - state.held)


def _width(run: _Run, items: list[int], node: Node) -> int:
    """How many of these items run at once: as the plan says, or as executors have places."""
    states = [run.states[number] for number in items]
    running = sum(one.status == "running" for one in states)
    queued = any(
        one.status in ("dispatched", "waiting") and 0.0 <= one.begun < run.now - _QUEUED_SECONDS
        for one in states
    )
    if queued and running and (not node.width or running < node.width):
        return running
    return node.width


def _leaf(run: _Run, number: int, node: Node) -> Remaining:
    """A step that has nothing within it, or nothing yet."""
    state = run.states[number]
    duration = _duration(run, number)
    if duration is None:
        return NONE
    expected, left = duration
    if state.status == "pending":
        if node.items > 1 and run.unknown_list(number):
            left = side_by_side([left] * node.items, node.width)
        run.left += left.mean
        return left
    elapsed = 0.0
    if state.polls:  # Every attempt is a part of what the step takes.
        elapsed = max(0.0, run.now - state.begun - state.held)
    elif state.acting >= 0:
        elapsed = max(0.0, run.now - state.acting)
    wait = state.wait
    if wait is not None and wait.reason in HELD_BACK:
        # Nobody knows how long: as long again as so far, at most to its end.
        held = run.now + run.progress.facts.accepted_at - wait.since
        held = max(0.0, min(held, wait.until - wait.since - held) if wait.until else held)
        left = Remaining(held, held * held).then(left)
        elapsed = 0.0
    elif wait is not None and wait.reason == "backoff":
        rest = max(0.0, (wait.until or 0.0) - run.now - run.progress.facts.accepted_at)
        left, elapsed = Remaining(rest, 0.0).then(left), 0.0
    elif wait is not None and wait.reason == "until":
        left = remaining(expected, elapsed)
        rest = max(0.0, (wait.until or 0.0) - run.now - run.progress.facts.accepted_at)
        left = Remaining(max(left.mean, rest), left.variance)
    elif state.status == "running" and state.percent:
        left = with_report(remaining(expected, elapsed), elapsed, state.percent)
    else:
        left = remaining(expected, elapsed)
    run.done += elapsed
    run.left += left.mean
    whole = elapsed + left.mean
    percent = state.percent or (int(100.0 * elapsed / whole) if whole > 0.0 else 0)
    run.steps[run.names[number]] = StepForecast(left, min(_DONE_PERCENT, percent))
    return left
