"""Cursor: where a reader of all partitions goes on, as the text of a stream's `id`; pure.

The next offset of each partition in hexadecimal, joined by dots. All records below it were sent,
and none from there on, so a reader that names it misses nothing and gets nothing twice, whichever
API it asks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_FORM: Final = re.compile(r"[0-9a-f]{1,16}(\.[0-9a-f]{1,16})*")


class Cursor:
    """The next offset of each partition."""

    __slots__ = ("_parts", "positions")

    def __init__(self, positions: Sequence[int]) -> None:
        """At these offsets."""
        self.positions = list(positions)
        self._parts = [b"%x" % position for position in self.positions]

    def move(self, partition: int, position: int) -> None:
        """Go on in this partition."""
        self.positions[partition] = position
        self._parts[partition] = b"%x" % position

    def text(self) -> bytes:
        """The `id`."""
        return b".".join(self._parts)

    def copy(self) -> Cursor:
        """One that moves by itself."""
        return Cursor(self.positions)


def parse(text: str, partitions: int) -> Cursor | None:
    """The cursor in a text; None where it is none for so many partitions."""
    if len(text) > 17 * partitions or not _FORM.fullmatch(text):
        return None
    parts = [int(part, 16) for part in text.split(".")]
    if len(parts) != partitions or max(parts) >= 2**63:
        return None
    return Cursor(parts)
