"""The graph: the steps of a plan with their states, each below what it depends on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reading.models.steps import StepSummary
from web.statuses import Look, step_look
from web.views.layers import place
from web.views.steps import link
from web.wording import counted

#: More nodes nobody reads; the tree of the steps shows them.
MOST_NODES: Final = 300

_WIDTH: Final = 184
_HEIGHT: Final = 48
_GAP_X: Final = 24
_GAP_Y: Final = 40
_MARGIN: Final = 8


@dataclass(frozen=True, slots=True)
class Share:
    """Steps within a node that have one tone, as a part of its bar."""

    tone: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Node:
    """One step, with what is within it."""

    step: str
    href: str
    look: Look
    x: float
    y: float
    label: str
    #: The tool, or what is within.
    detail: str
    title: str
    shares: list[Share]


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency, as the path of an SVG."""

    path: str
    done: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and edges with their places, in pixels."""

    nodes: list[Node]
    edges: list[Edge]
    width: int
    height: int
    node_width: int = _WIDTH
    node_height: int = _HEIGHT


def graph(steps: Sequence[StepSummary], path: str) -> Graph | None:
    """The graph; None where there are too many nodes to draw."""
    known = {step.step for step in steps}
    tops = [step for step in steps if step.parent is None or step.parent not in known]
    if not tops or len(tops) > MOST_NODES:
        return None
    within: dict[str, list[StepSummary]] = {}
    parents = {step.step: step.parent for step in steps if step.parent in known}
    for step in steps:
        top = step.step
        while top in parents:
            top = parents[top] or ""
        if top != step.step:
            within.setdefault(top, []).append(step)
    needs = {
        step.step: [*step.depends_on, *([step.undoes] if step.undoes else [])] for step in tops
    }
    placed = place([step.step for step in tops], needs)
    statuses = {step.step: step.status for step in tops}
    nodes = [_node(step, within.get(step.step, []), placed.nodes[step.step], path) for step in tops]
    edges = [
        Edge(_path(points), statuses[upper] in ("succeeded", "skipped"))
        for upper, _, points in placed.edges
    ]
    return Graph(
        nodes,
        edges,
        round(placed.columns * (_WIDTH + _GAP_X) - _GAP_X + 2 * _MARGIN),
        placed.layers * (_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _MARGIN,
    )


def _left(column: float) -> float:
    return round(_MARGIN + column * (_WIDTH + _GAP_X), 1)


def _top(layer: int) -> float:
    return _MARGIN + layer * (_HEIGHT + _GAP_Y)


def _node(
    step: StepSummary, within: Sequence[StepSummary], at: tuple[float, int], path: str
) -> Node:
    look = step_look(step.status or "unknown")
    outer = {one.parent for one in within}
    leaves = [one for one in within if one.step not in outer]
    detail = step.tool or ""
    shares: list[Share] = []
    if leaves:
        tones: Counter[str] = Counter(step_look(one.status or "unknown").tone for one in leaves)
        detail = counted(len(leaves), "step")
        if tones["fail"]:
            detail += f", {tones['fail']} failed"
        shares = _shares(tones, len(leaves))
    why = step.error_message or step.status_reason
    title = f"{step.step}: {look.word}" + (f" ({why})" if why else "")
    return Node(
        step.step, link(path, "graph", step.step), look, _left(at[0]), _top(at[1]),
        _cut(step.step, 21), _cut(detail, 25), title, shares,
    )  # fmt: skip


def _shares(tones: Counter[str], total: int) -> list[Share]:
    shares, x = [], 0.0
    for tone in ("fail", "person", "run", "wait", "ok"):
        if tones[tone]:
            width = (_WIDTH - 2) * tones[tone] / total
            shares.append(Share(tone, round(x + 1, 1), round(width, 1)))
            x += width
    return shares


def _path(points: Sequence[tuple[float, int]]) -> str:
    """From the foot of the upper node to the head of the lower one, in soft bends."""
    column, layer = points[0]
    x, y = _left(column) + _WIDTH / 2, _top(layer) + _HEIGHT
    parts = [f"M{x:g} {y:g}"]
    for column, layer in points[1:]:
        next_x, next_y = _left(column) + _WIDTH / 2, _top(layer)
        middle = (y + next_y) / 2
        parts.append(f"C{x:g} {middle:g} {next_x:g} {middle:g} {next_x:g} {next_y:g}")
        x, y = next_x, next_y
        if (column, layer) != points[-1]:
            y += _HEIGHT
            parts.append(f"V{y:g}")
    return "".join(parts)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
