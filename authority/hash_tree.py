"""Hash trees: one root for many values, and for each value the proof that it is one of them.

A leaf is the SHA-256 of its value; a node is SHA-256(0x01 | smaller child | larger child), so that
a proof is the sibling of each level and nothing else; a node without a sibling moves up as it is.
A value that begins with 0x01 could be a node, so none is covered by a tree: no JSON begins so.
Compare RFC 9162, section 2.1, whose trees keep the order of their leaves, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: Bytes of a leaf, of a node and of a sibling in a proof.
SIZE: Final = 32
#: Nodes that are kept of one signature: those of a tree over half as many values, and more.
MAX_NODES: Final = 256
_NODE: Final = b"\x01"


def leaf(value: bytes) -> bytes:
    """The leaf of a value."""
    return hashlib.sha256(value).digest()


def tree(leaves: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """The root over these leaves, at least one, and the proof of each: its siblings upwards."""
    proofs = [b""] * len(leaves)
    # Each node with the numbers of the leaves below it.
    level = [(node, [number]) for number, node in enumerate(leaves)]
    while len(level) > 1:
        above = []
        for (left, under_left), (right, under_right) in zip(level[::2], level[1::2], strict=False):
            for number in under_left:
                proofs[number] += right
            for number in under_right:
                proofs[number] += left
            above.append((_node(left, right), under_left + under_right))
        level = above + level[2 * len(above) :]
    return level[0][0], proofs


@dataclass(slots=True)
class Roots:
    """Checks proofs against some roots; a node is computed once, however many values are below."""

    #: Of every node that is known: the proof from there on.
    _paths: dict[bytes, bytes]

    @classmethod
    def of(cls, roots: Iterable[bytes]) -> Roots:
        """Nothing else is known yet."""
        return cls(dict.fromkeys(roots, b""))

    def covers(self, value: bytes, proof: bytes) -> bool:
        """Whether the value is below one of the roots, and this is its proof."""
        if value.startswith(_NODE):
            return False
        node = leaf(value)
        found: dict[bytes, bytes] = {}
        at = 0
        while (known := self._paths.get(node)) is None:
            if at == len(proof):
                return False
            sibling, rest = proof[at : at + SIZE], proof[at + SIZE :]
            # If this reaches the root the sibling is below it, too, and its proof is known.
            found[node], found[sibling] = proof[at:], node + rest
            node = _node(node, sibling)
            at += SIZE
        if known != proof[at:]:
            return False
        if len(self._paths) + len(found) <= MAX_NODES:
            self._paths.update(found)
        return True


def _node(one: bytes, other: bytes) -> bytes:
    return hashlib.sha256(_NODE + one + other if one < other else _NODE + other + one).digest()
