"""Progress that a program tells while it runs, and the time that passes where it tells nothing.

Any program of a step may say how far it is, with a line of its own on stderr:

    runstream progress: 40 copied 400 of 1,000 files

Percent (0 to 100, or - where only the message is known), then a message. The line is taken out of
the output. Whatever looks else is output.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

MARK: Final = b"runstream progress: "
#: Of one line; a longer one is output.
_MOST_LINE: Final = 1_000
_LINE: Final = re.compile(rb"runstream progress: (-|[0-9]{1,3}(?:\.[0-9]{1,9})?)(?: (.*))?")
_EVERY_SECONDS: Final = 1.0

Report = Callable[[float | None, str | None], None]


class ProgressLines:
    """Takes the lines about progress out of stderr; the rest is handed on as it came."""

    def __init__(self, report: Report) -> None:
        """`report` is that of the run context."""
        self._report = report
        #: The beginning of a line that may become one about progress.
        self._held = b""
        self._at_start = True

    def feed(self, data: bytes) -> bytes:
        """What of `data`, and of what was held, is output."""
        if not data:
            return data
        if not self._held and MARK not in data and not self._may_begin(data):
            self._at_start = data.endswith(b"\n")
            return data
        *lines, rest = (self._held + data).split(b"\n")
        self._held = b""
        kept = []
        for line in lines:
            if not (self._at_start and self._taken(line)):
                kept.append(line + b"\n")
            self._at_start = True
        if self._at_start and rest and len(rest) <= _MOST_LINE and _begins(rest):
            self._held = rest
        elif rest:
            kept.append(rest)
            self._at_start = False
        return b"".join(kept)

    def end(self) -> bytes:
        """What was held, at the end of the stream."""
        held, self._held = self._held, b""
        return b"" if self._taken(held) else held

    def _may_begin(self, data: bytes) -> bool:
        last = data.rpartition(b"\n")[2]
        whole_line = self._at_start or len(last) < len(data)
        return bool(last) and whole_line and _begins(last)

    def _taken(self, line: bytes) -> bool:
        found = _LINE.fullmatch(line.rstrip(b"\r")) if len(line) <= _MOST_LINE else None
        if found is None:
            return False
        percent = None if found[1] == b"-" else min(100.0, float(found[1]))
        note = (found[2] or b"").decode("utf-8", "replace").strip() or None
        self._report(percent, note)
        return True


def _begins(text: bytes) -> bool:
    return MARK.startswith(text) or text.startswith(MARK)


@asynccontextmanager
async def by_time(report: Report, seconds: float, what: str) -> AsyncIterator[None]:
    """Report the part of `seconds` that has passed, of work that takes just so long."""
    task = asyncio.create_task(_count(report, seconds, what))
    try:
        yield
    finally:
        task.cancel()


async def _count(report: Report, seconds: float, what: str) -> None:
    begun = time.monotonic()
    while (gone := time.monotonic() - begun) < seconds:
        report(round(100.0 * gone / seconds, 1), f"{what}: {gone:.0f} of {seconds:g} s")
        await asyncio.sleep(_EVERY_SECONDS)
