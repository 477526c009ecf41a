"""What a program writes: published at once, and kept as far as the result needs it."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from drivers.context import Outcome, RunContext, Success
from drivers.errors import fail
from drivers.launcher import READ_BYTES
from drivers.values import KEPT_BYTES, jsonable
from streams.truncation import FIELDS, MOST_NAMED, TRUNCATED, WHOLE_OUTPUT, mark, part_of
from toolmeta.invocation import Invocation

#: Of stdout, as text in the output of a tool without a parser.
TEXT_BYTES: Final = 64 * 1024
#: Of output that is parsed in the event loop and not in a thread.
_QUICK_BYTES: Final = 32 * 1024
_LAST_ERRORS_BYTES: Final = 4 * 1024
#: Exit codes of shells and wrappers where the program itself is absent.
MISSING: Final = 127


class Source(Protocol):
    """Something to read bytes from; empty bytes are the end."""

    async def read(self, n: int, /) -> bytes:
        """At most `n` bytes."""
        ...


class OutputLimit(Exception):
    """A program wrote more than it may."""


class ProgramOutput:
    """Stdout and stderr of one program, in bounded memory."""

    def __init__(
        self, context: RunContext, *, merged: bool = False, most_bytes: int | None = None
    ) -> None:
        """Nothing read yet; with `merged` stderr is kept for the parser too.

        Beyond `most_bytes` of both streams together `drain` raises OutputLimit.
        """
        self._left = most_bytes
        self._output = context.output
        self._merged = merged
        self._kept = bytearray()
        self._errors = b""
        self._writing = 0
        self.stdout_bytes = self.stdout_lines = 0
        #: Pieces read so far, of both streams.
        self.reads = 0

    async def drain(self, stream: Literal["stdout", "stderr"], source: Source) -> None:
        """Read `source` to its end, no faster than the output can be published."""
        while data := await source.read(READ_BYTES):
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    raise OutputLimit
            if stream == "stdout" or self._merged:
                self.stdout_bytes += len(data)
                self.stdout_lines += data.count(b"\n")
                self._kept += data[: KEPT_BYTES - len(self._kept)]
            if stream == "stderr":
                self._errors = (self._errors + data)[-_LAST_ERRORS_BYTES:]
            self.reads += 1
            self._writing += 1
            try:
                await self._output.write(stream, data)
            finally:
                self._writing -= 1

    @property
    def idle(self) -> bool:
        """Whether what was read is also published."""
        return self._writing == 0

    @property
    def last_error(self) -> str:
        """The last line of stderr that is not empty."""
        lines = self._errors.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    @property
    def last_text(self) -> str:
        """The ends of stdout and stderr, without blanks around them."""
        said = self._kept[-_LAST_ERRORS_BYTES:] if not self._merged else b""
        return (said + b"\n" + self._errors).decode("utf-8", "replace").strip()

    @property
    def whole(self) -> bool:
        """Whether all of stdout was kept."""
        return self.stdout_bytes <= KEPT_BYTES

    def text(self, limit: int | None = None) -> str:
        """What was kept of stdout, whole lines where that is not all; or `limit` bytes."""
        kept = bytes(self._kept[:limit])
        if limit is None and not self.whole and b"\n" in kept:
            kept = kept[: kept.rindex(b"\n") + 1]
        return kept.decode("utf-8", "replace")


async def conclude(invocation: Invocation, written: ProgramOutput, exit_code: int) -> Outcome:
    """The outcome of a program that ended; a negative code is the signal that ended it."""
    good = exit_code in invocation.success_codes
    problem: str | None = None
    output: dict[str, Any] = {"exit_code": exit_code}
    if written.stdout_bytes <= _QUICK_BYTES:
        problem = _parse(invocation.parser, written, exit_code, output)
    else:
        # Parsing megabytes would stop every other attempt of this process meanwhile.
        problem = await asyncio.to_thread(_parse, invocation.parser, written, exit_code, output)
    if not good:
        error_class = _class_of(invocation, written)
        return fail(invocation, error_class, _sentence(invocation, written, exit_code), output)
    if problem is not None:
        return fail(invocation, "output_unparsable", problem, output)
    return Success(output)


def _parse(
    parser: str | None, written: ProgramOutput, exit_code: int, output: dict[str, Any]
) -> str | None:
    """Add the parsed fields to `output`, or the text where it cannot be parsed; returns why not."""
    from toolmeta.parse import ParseError, parse

    problem = None
    if not written.whole:
        counted = {"stdout_bytes": written.stdout_bytes, "stdout_lines": written.stdout_lines}
        output |= {"truncated": True, **counted}
    if parser is not None:
        try:
            found = jsonable(parse(parser, written.text(), exit_code, datetime.now(UTC)))
            output.update(found)
            if not written.whole:
                _mark_all(output, found)
            return None
        except ParseError as error:
            # What was cut in the middle need not be what its parser expects.
            problem = str(error) if written.whole else None
    output.update(jsonable(parse(None, written.text(TEXT_BYTES), exit_code)))
    if written.stdout_bytes > TEXT_BYTES:
        mark(output, "text", len(output["text"]), None)
    return problem


def _mark_all(output: dict[str, Any], found: dict[str, Any]) -> None:
    """Say that everything in `found`, counts and sums too, is of the beginning of stdout only."""
    names = [name for name in found if name not in ("exit_code", TRUNCATED, FIELDS)]
    if len(names) > MOST_NAMED:
        mark(output, WHOLE_OUTPUT, len(names), None)
        return
    for name in names:
        value = found[name]
        kept = len(value) if isinstance(value, list | str | dict) else 1
        mark(output, part_of("", name), kept, None)


def _class_of(invocation: Invocation, written: ProgramOutput) -> str:
    """The error class that the tool gives to what the program wrote last."""
    words = written.last_text
    for pattern, error_class in invocation.failures:
        if re.search(pattern, words):
            return error_class
    return "exit_status"


def _sentence(invocation: Invocation, written: ProgramOutput, exit_code: int) -> str:
    program = invocation.argv[0]
    if exit_code < 0:
        text = f"{program} was ended by signal {-exit_code}"
    else:
        text = f"{program} ended with exit code {exit_code}"
    return f"{text}: {written.last_error}" if written.last_error else text
