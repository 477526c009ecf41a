"""The shape of a plan, as far as an estimate needs it: who waits for whom, and how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from streams.admitted import AdmittedPlan, AdmittedStep

#: Edges beyond which a plan's shape is not remembered: it is a part of every snapshot's header.
MAX_EDGES: Final = 5_000


class Node(NamedTuple):
    """One step of the plan or of a block."""

    #: The positions, in its scope, of the steps that it waits for.
    after: tuple[int, ...] = ()
    #: How many of its items run at once at most; 0 for no limit.
    width: int = 0
    #: The steps of a block.
    inner: tuple[Node, ...] = ()
    #: How many items it has, where the plan itself lists them; -1 where that is not known before.
    items: int = -1


def graph_of(plan: AdmittedPlan) -> tuple[Node, ...]:
    """The steps of the plan, then those of `finally`; empty where there are too many edges."""
    left = [MAX_EDGES]
    found = (*_nodes(plan.steps, left), *_nodes(plan.finally_steps, left))
    return found if left[0] >= 0 else ()


def _nodes(steps: Sequence[AdmittedStep], left: list[int]) -> tuple[Node, ...]:
    place = {step.id: number for number, step in enumerate(steps)}
    nodes: list[Node] = []
    for step in steps:
        left[0] -= len(step.depends_on)
        if left[0] < 0:
            return ()
        after = tuple([place[name] for name in step.depends_on if name in place])
        inner = _nodes(step.steps, left) if step.steps else ()
        items = len(step.for_each) if isinstance(step.for_each, list) else -1
        nodes.append(Node(after, step.max_parallel or 0, inner, items))
    return tuple(nodes)


def packed_graph(nodes: Sequence[Node]) -> list[Any] | None:
    """As JSON can hold it: of a plain step only what it waits for."""
    if not nodes:
        return None
    return [
        list(node.after)
        if not node.width and not node.inner and node.items < 0
        else [list(node.after), node.width, packed_graph(node.inner), node.items]
        for node in nodes
    ]


def unpacked_graph(packed: list[Any] | None) -> tuple[Node, ...]:
    """What `packed_graph` made of it."""
    return tuple(
        Node(tuple(one[0]), one[1], unpacked_graph(one[2]), one[3])
        if one and isinstance(one[0], list)
        else Node(tuple(one))
        for one in packed or ()
    )
