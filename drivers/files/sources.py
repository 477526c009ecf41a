"""What is put somewhere: a text, a template, a file of the executor, or a file of a host."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from drivers.files.place import Reading
from drivers.threads import in_thread
from drivers.transfer_files import PIECE_BYTES


class Source(Protocol):
    """Bytes that can be read again from the beginning."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """All of them."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the plan, or what a template became."""

    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.data)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """All of it, in pieces."""
        for start in range(0, len(self.data), PIECE_BYTES):
            yield self.data[start : start + PIECE_BYTES]


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file of the executor."""

    file: BinaryIO
    size: int

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """All of it; it ends early where the file became shorter."""
        await in_thread(self.file.seek, 0)
        left = self.size
        while left:
            piece = await in_thread(self.file.read, min(left, PIECE_BYTES))
            if not piece:
                return
            left -= len(piece)
            yield piece


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file of another place."""

    opened: Reading

    @property
    def size(self) -> int:
        """How many bytes it had when it was opened."""
        return self.opened.entry.size

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """All of it; it ends early where the file became shorter."""
        return self.opened.pieces()
