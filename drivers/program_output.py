"""What a program writes: published at once, and kept as far as the result needs it."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, Literal, Protocol

from drivers.context import Outcome, RunContext, Success
from drivers.errors import fail
from drivers.launcher import READ_BYTES
from drivers.values import fitting, jsonable
from toolmeta.invocation import Invocation

#: Of stdout, for the parser.
PARSED_BYTES: Final = 4 * 1024 * 1024
#: Of stdout, as text in the output of a tool without a parser.
TEXT_BYTES: Final = 64 * 1024
#: Of output that is parsed in the event loop and not in a thread.
_QUICK_BYTES: Final = 32 * 1024
_LAST_ERRORS_BYTES: Final = 4 * 1024


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
        self.stdout_bytes = 0
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
                self._kept += data[: PARSED_BYTES - len(self._kept)]
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
        return self.stdout_bytes <= PARSED_BYTES

    def text(self, limit: int | None = None) -> str:
        """What was kept of stdout, or its first `limit` bytes."""
        return bytes(self._kept[:limit]).decode("utf-8", "replace")


async def conclude(invocation: Invocation, written: ProgramOutput, exit_code: int) -> Outcome:
    """The outcome of a program that ended; a negative code is the signal that ended it."""
    good = exit_code in invocation.success_codes
    problem: str | None = None
    output: dict[str, Any] = {"exit_code": exit_code}
    if not written.whole and invocation.parser is not None:
        output |= {"truncated": True, "stdout_bytes": written.stdout_bytes}
    elif written.stdout_bytes <= _QUICK_BYTES:
        problem = _parse(invocation.parser, written, exit_code, output)
    else:
        # Parsing megabytes would stop every other attempt of this process meanwhile.
        problem = await asyncio.to_thread(_parse, invocation.parser, written, exit_code, output)
    output = fitting(output)
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
    if parser is not None:
        try:
            output.update(jsonable(parse(parser, written.text(), exit_code)))
            return None
        except ParseError as error:
            problem = str(error)
    output.update(jsonable(parse(None, written.text(TEXT_BYTES), exit_code)))
    if written.stdout_bytes > TEXT_BYTES:
        output["truncated"] = True
    return problem


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
