"""What is claimed of one partition, where commands are claimed out of their order.

Committed is the lowest offset that is not claimed, and with it, as the note of the commit, which
offsets beyond it are. So one commit says all of it, and whoever reads the partition next skips
what was claimed. The technique is that of Confluent's Parallel Consumer.
"""

from __future__ import annotations

import base64
from typing import Final

#: How far beyond the lowest offset that is not claimed one may be: 2 KiB of bits, with base64 2.7
#: of the 4 KiB that a broker takes with an offset (`offset.metadata.max.bytes`).
CAPACITY: Final = 16 * 1024
#: Names the format, before a colon.
_FORMAT: Final = "1"


class UnknownNote(Exception):
    """What stands with a committed offset cannot be read, so nobody knows what was claimed."""


class ClaimedOffsets:
    """The claimed offsets of one partition: all below `lowest`, and some beyond it."""

    def __init__(self, lowest: int, note: str = "") -> None:
        """As committed; raises UnknownNote."""
        self.lowest = lowest
        #: Bit n: the offset `lowest` + n is claimed.
        self._bits = _bits_of(note)

    def __contains__(self, offset: int) -> bool:
        """Whether the offset was claimed."""
        return offset < self.lowest or (
            self._bits != 0 and self._bits >> (offset - self.lowest) & 1 == 1
        )

    def reaches(self, offset: int) -> bool:
        """Whether this offset may be claimed before the lowest one."""
        return offset - self.lowest < CAPACITY

    def add(self, offset: int) -> None:
        """The offset is claimed; it is `lowest`, or `reaches` has it."""
        self._bits |= 1 << (offset - self.lowest)

    def raise_to(self, lowest: int) -> None:
        """All offsets below this one are claimed, or hold no command."""
        self._bits >>= lowest - self.lowest
        self.lowest = lowest

    def note(self) -> str:
        """What has to stand with the committed offset `lowest`; empty where nothing has to."""
        if not self._bits:
            return ""
        content = self._bits.to_bytes((self._bits.bit_length() + 7) // 8, "little")
        return f"{_FORMAT}:{base64.b64encode(content).decode()}"


def _bits_of(note: str) -> int:
    if not note:
        return 0
    written, _, content = note.partition(":")
    if written != _FORMAT:
        raise UnknownNote(f"the format {written[:20]!r} of a committed offset's note is unknown")
    try:
        return int.from_bytes(base64.b64decode(content, validate=True), "little")
    except ValueError:
        raise UnknownNote("the note of a committed offset is damaged") from None
