"""Layers: places for the nodes of a graph, each below everything that it depends on; pure.

Sources: Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system
structures" (1981): layers by longest path, order by barycentres, long edges through dummy nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

_SWEEPS: Final = 6


@dataclass(frozen=True, slots=True)
class Placed:
    """Where everything lies: nodes by name, edges as points from top to bottom."""

    #: The centre of a node, in columns, and its layer.
    nodes: dict[str, tuple[float, int]]
    edges: list[tuple[str, str, list[tuple[float, int]]]]
    columns: float
    layers: int


@dataclass(slots=True)
class _Layered:
    """Nodes and dummies by layer, with their neighbours above and below."""

    rows: list[list[str]]
    above: dict[str, list[str]] = field(default_factory=dict)
    below: dict[str, list[str]] = field(default_factory=dict)


def place(names: Sequence[str], depends_on: Mapping[str, Iterable[str]]) -> Placed:
    """Places for nodes; a dependency on what is no node is left out, as is one in a circle."""
    known = set(names)
    parents = {
        name: [one for one in dict.fromkeys(depends_on.get(name, ())) if one in known]
        for name in names
    }
    layer = _layers(names, parents)
    layered = _Layered([[] for _ in range(max(layer.values(), default=-1) + 1)])
    for name in names:
        layered.rows[layer[name]].append(name)
        layered.above[name], layered.below[name] = [], []
    chains = [
        (parent, name, _chain(parent, name, layer, layered))
        for name in names
        for parent in parents[name]
        if layer[parent] < layer[name]
    ]
    _untangle(layered)
    at = _columns(layered)
    depth = {name: number for number, row in enumerate(layered.rows) for name in row}
    return Placed(
        nodes={name: (at[name], layer[name]) for name in names},
        edges=[(a, b, [(at[one], depth[one]) for one in chain]) for a, b, chain in chains],
        columns=max(at.values(), default=0.0) + 1,
        layers=len(layered.rows),
    )


def _layers(names: Sequence[str], parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The layer of each node: one below its lowest parent."""
    layer: dict[str, int] = {}
    left = list(names)
    while left:
        ready = [name for name in left if all(parent in layer for parent in parents[name])]
        for name in ready or left[:1]:
            known = [layer[parent] for parent in parents[name] if parent in layer]
            layer[name] = max(known, default=-1) + 1
        left = [name for name in left if name not in layer]
    return layer


def _chain(parent: str, name: str, layer: Mapping[str, int], layered: _Layered) -> list[str]:
    """The edge from parent to node, with a dummy on each layer between."""
    chain = [parent]
    for number in range(layer[parent] + 1, layer[name]):
        dummy = f"\0{parent}\0{name}\0{number}"
        layered.rows[number].append(dummy)
        layered.above[dummy], layered.below[dummy] = [], []
        chain.append(dummy)
    chain.append(name)
    for upper, lower in pairwise(chain):
        layered.below[upper].append(lower)
        layered.above[lower].append(upper)
    return chain


def _untangle(layered: _Layered) -> None:
    """Order each layer by the mean place of its neighbours, down and up a few times."""
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        rows = layered.rows if down else layered.rows[::-1]
        near = layered.above if down else layered.below
        before: dict[str, int] = {}
        for row in rows:
            order = {name: number for number, name in enumerate(row)}

            def middle(
                name: str,
                order: Mapping[str, int] = order,
                before: Mapping[str, int] = before,
            ) -> float:
                found = [before[one] for one in near[name] if one in before]  # noqa: B023
                return sum(found) / len(found) if found else order[name]

            row.sort(key=middle)
            before = {name: number for number, name in enumerate(row)}


def _columns(layered: _Layered) -> dict[str, float]:
    """A column for each node: near the mean of its parents, and never over its neighbour."""
    at: dict[str, float] = {}
    widest = max((len(row) for row in layered.rows), default=0)
    for row in layered.rows:
        begin = (widest - len(row)) / 2
        at.update((name, begin + number) for number, name in enumerate(row))
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = layered.above if down else layered.below
        for row in layered.rows if down else layered.rows[::-1]:
            _settle(row, [_mean(at, near[name], at[name]) for name in row], at)
    least = min(at.values(), default=0.0)
    return {name: column - least for name, column in at.items()}


def _mean(at: Mapping[str, float], near: Sequence[str], otherwise: float) -> float:
    return sum(at[one] for one in near) / len(near) if near else otherwise


def _settle(row: Sequence[str], wanted: Sequence[float], at: dict[str, float]) -> None:
    """Give each its wanted column, or the nearest that keeps the order and a distance of one."""
    blocks: list[list[float]] = []
    for column in wanted:
        # A block is [sum of (wanted - place within the block), members]; blocks that touch join.
        blocks.append([column, 1])
        while len(blocks) > 1 and _begin(blocks[-2]) + blocks[-2][1] > _begin(blocks[-1]):
            total, members = blocks.pop()
            size = blocks[-1][1]
            blocks[-1][0] += total - members * size
            blocks[-1][1] += members
    place_ = iter(row)
    for block in blocks:
        begin = _begin(block)
        for offset in range(int(block[1])):
            at[next(place_)] = begin + offset


def _begin(block: Sequence[float]) -> float:
    return block[0] / block[1]
