"""Steps as a tree, and as a matrix of hosts and steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final
from urllib.parse import quote

from reading.models.steps import StepSummary
from streams.lifecycle import STEP_ENDED
from web.statuses import Look, step_look
from web.wording import counted

#: From how many hosts on a fan-out is shown as a matrix.
MATRIX_FROM: Final = 4
_MOST_HOSTS: Final = 500
_MOST_COLUMNS: Final = 30
_INDEX: Final = re.compile(r"\[\d+\]")
_NUMBER: Final = re.compile(r"\[(\d+)\]$")
#: The worst first: what a cell of several steps shows.
_WORST: Final = (
    "failed", "timed_out", "needs_attention", "lost", "cancelling", "running", "waiting",
    "dispatched", "pending", "cancelled", "skipped", "compensated", "succeeded",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of the tree."""

    step: str
    label: str
    depth: int
    href: str
    look: Look
    status: str
    tool: str
    target: str | None
    executor: str | None
    attempt: int
    seconds: float | None
    since: datetime | None
    percent: float | None
    #: Why it waits, failed or was skipped, or what it does.
    why: str | None
    failed: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """What one step did on one host."""

    look: Look
    href: str
    title: str


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host of the matrix."""

    host: str
    cells: list[Cell | None]
    look: Look


@dataclass(frozen=True, slots=True)
class Matrix:
    """Hosts by steps, the hosts with the worst outcome first."""

    columns: list[str]
    rows: list[HostRow]
    hosts_left_out: int
    summary: str


def depth_of(step: str) -> int:
    """How deep in blocks and items the step stands."""
    return len(_parts(step)) - 1


def label_of(step: str) -> str:
    """The last part of its name: `drain` of `roll[0].drain`, `[0]` of `scan[0]`."""
    return _parts(step)[-1]


def _parts(step: str) -> list[str]:
    """`roll[0].drain` as `roll`, `[0]`, `drain`."""
    return re.findall(r"[^.\[\]]+|\[\d+\]", step) or [step]


def link(path: str, tab: str, step: str) -> str:
    """The page with the step's panel open."""
    return f"{path}?tab={tab}&step={quote(step, safe='')}"


def in_order(steps: Sequence[StepSummary]) -> list[StepSummary]:
    """Each after the step that it is within; items by number, others after what they need."""
    known = {step.step for step in steps}
    within: dict[str | None, list[StepSummary]] = {}
    for step in steps:
        parent = step.parent or step.undoes
        within.setdefault(parent if parent in known else None, []).append(step)
    found: list[StepSummary] = []
    todo = list(reversed(_siblings(within.get(None, []))))
    while todo:
        step = todo.pop()
        found.append(step)
        todo.extend(reversed(_siblings(within.pop(step.step, []))))
    return found


def _siblings(steps: list[StepSummary]) -> list[StepSummary]:
    """In the order of the plan: items by number, the others as their dependencies demand."""
    if len(steps) < 2:
        return steps
    numbers = [_NUMBER.search(step.step) for step in steps]
    if all(numbers):
        return sorted(steps, key=lambda step: int(_NUMBER.findall(step.step)[-1]))
    places = {step.step: place for place, step in enumerate(steps)}
    following: dict[int, list[int]] = {}
    needs = [0] * len(steps)
    for place, step in enumerate(steps):
        for name in set(step.depends_on) & places.keys():
            following.setdefault(places[name], []).append(place)
            needs[place] += 1
    ready = [(steps[place].step_index or 0, place) for place, many in enumerate(needs) if not many]
    heapify(ready)
    found: list[StepSummary] = []
    while ready:
        _, place = heappop(ready)
        found.append(steps[place])
        for later in following.get(place, ()):
            needs[later] -= 1
            if not needs[later]:
                heappush(ready, (steps[later].step_index or 0, later))
    # What depends on itself in a circle stands at the end.
    return [*found, *(step for place, step in enumerate(steps) if needs[place])]


def step_rows(steps: Sequence[StepSummary], path: str, now: datetime) -> list[StepRow]:
    """The steps in the order of the plan."""
    return [_row(step, path, now) for step in in_order(steps)]


def _row(step: StepSummary, path: str, now: datetime) -> StepRow:
    status = step.status or "unknown"
    live = step.started_at is not None and status not in STEP_ENDED
    seconds = step.duration_seconds
    if live and step.started_at is not None:
        seconds = (now - step.started_at).total_seconds()
    return StepRow(
        step=step.step,
        label=label_of(step.step),
        depth=min(depth_of(step.step), 6),
        href=link(path, "steps", step.step),
        look=step_look(status),
        status=status,
        tool=step.tool or "",
        target=step.target,
        executor=step.executor,
        attempt=step.attempt,
        seconds=seconds,
        since=step.started_at if live and status == "running" else None,
        percent=step.percent if status == "running" else None,
        why=step.error_message or step.status_reason or step.progress_message,
        failed=status in ("failed", "timed_out"),
    )


def matrix(steps: Sequence[StepSummary], path: str) -> Matrix | None:
    """Hosts by steps, where there are more than three hosts; else None."""
    hosts_of: dict[str, set[str]] = {}
    for step in steps:
        if step.target is not None:
            hosts_of.setdefault(_INDEX.sub("", step.step), set()).add(step.target)
    # What is done to one host only is no fan-out.
    columns = [column for column, found in hosts_of.items() if len(found) > 1]
    hosts: dict[str, dict[str, list[StepSummary]]] = {}
    for step in steps:
        column = _INDEX.sub("", step.step)
        if step.target is not None and column in columns[:_MOST_COLUMNS]:
            hosts.setdefault(step.target, {}).setdefault(column, []).append(step)
    if len(hosts) < MATRIX_FROM:
        return None
    names = columns[:_MOST_COLUMNS]
    rows = [_host(host, found, names, path) for host, found in hosts.items()]
    order = {look.word: place for place, look in enumerate(map(step_look, _WORST))}
    rows.sort(key=lambda row: (order.get(row.look.word, 99), row.host))
    done = sum(1 for row in rows if row.look == step_look("succeeded"))
    bad = sum(1 for row in rows if row.look.tone == "fail")
    summary = f"{done} of {counted(len(rows), 'host')} done" + (f", {bad} failed" if bad else "")
    return Matrix(
        columns=names,
        rows=rows[:_MOST_HOSTS],
        hosts_left_out=max(0, len(rows) - _MOST_HOSTS),
        summary=summary,
    )


def _host(host: str, found: dict[str, list[StepSummary]], columns: list[str], path: str) -> HostRow:
    cells: list[Cell | None] = []
    for column in columns:
        here = found.get(column)
        if not here:
            cells.append(None)
            continue
        step = min(here, key=_badness)
        look = step_look(step.status or "unknown")
        why = step.error_message or step.status_reason
        title = f"{host}, {column}: {look.word}" + (f" ({why})" if why else "")
        cells.append(Cell(look, link(path, "steps", step.step), title))
    worst = min((step for here in found.values() for step in here), key=_badness)
    return HostRow(host, cells, step_look(worst.status or "unknown"))


def _badness(step: StepSummary) -> int:
    status = step.status or ""
    return _WORST.index(status) if status in _WORST else len(_WORST)
