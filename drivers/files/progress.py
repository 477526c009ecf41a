"""How far a transfer is: bytes and percent, for people who wait."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from drivers.context import RunContext


@dataclass(slots=True)
class Progress:
    """Of one file; `total` counts a byte once for each time that it is moved or compared."""

    context: RunContext
    total: int
    done: int = 0

    def add(self, count: int, what: str) -> None:
        """More of it is done; the agent throttles."""
        self.done += count
        percent = 100.0 if not self.total else min(100.0, 100.0 * self.done / self.total)
        text = f"{what}: {_shown(self.done)} of {_shown(max(self.total, self.done))}"
        self.context.report_progress(round(percent, 1), text)


def _shown(count: int) -> str:
    return f"{count} bytes" if count < 10_000 else f"{count / 1e6:.1f} MB"


async def digest(
    pieces: AsyncGenerator[bytes, None], progress: Progress, what: str
) -> tuple[str, int]:
    """SHA-256 and number of the bytes."""
    hashed, size = hashlib.sha256(), 0
    async with aclosing(pieces):
        async for piece in pieces:
            hashed.update(piece)
            size += len(piece)
            progress.add(len(piece), what)
    return hashed.hexdigest(), size
