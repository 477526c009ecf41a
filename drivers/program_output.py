"""What a program writes: published at once, and kept as far as the result needs it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from drivers.context import Outcome, RunContext, Success
from drivers.errors import ERROR_CLASSES, fail
from drivers.launcher import READ_BYTES
from drivers.program_progress import ProgressLines
from drivers.values import KEPT_BYTES, jsonable
from streams.truncation import FIELDS, MOST_NAMED, TRUNCATED, WHOLE_OUTPUT, mark, part_of
from toolmeta import python_programs, unread
from toolmeta.invocation import Invocation

#: Of stdout, as text in the output of a tool without a parser.
TEXT_BYTES: Final = 64 * 1024
#: Of output that is parsed in the event loop and not in a thread.
_QUICK_BYTES: Final = 32 * 1024
_LAST_ERRORS_BYTES: Final = 4 * 1024
#: Lines of stderr in an output that has them.
_MOST_ERRORS: Final = 1_000
#: Of stderr from its beginning, for what a program says it could not read.
_FIRST_ERRORS_BYTES: Final = 256 * 1024


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
        self._progress = ProgressLines(context.report_progress)
        self._merged = merged
        self._kept = bytearray()
        self._errors = b""
        self._first_errors = bytearray()
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
            if stream == "stderr" and not (data := self._progress.feed(data)):
                self.reads += 1
                continue
            await self._keep(stream, data)
        if stream == "stderr" and (data := self._progress.end()):
            await self._keep(stream, data)

    async def _keep(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if stream == "stdout" or self._merged:
            self.stdout_bytes += len(data)
            self.stdout_lines += data.count(b"\n")
            self._kept += data[: KEPT_BYTES - len(self._kept)]
        if stream == "stderr":
            self._errors = (self._errors + data)[-_LAST_ERRORS_BYTES:]
            self._first_errors += data[: _FIRST_ERRORS_BYTES - len(self._first_errors)]
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
    def silent(self) -> bool:
        """Whether it wrote nothing to stderr."""
        return not self._errors.strip()

    @property
    def errors(self) -> str:
        """The beginning of stderr."""
        return self._first_errors.decode("utf-8", "replace")

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
        """What was kept of stdout, whole rows where that is not all; or `limit` bytes.

        Rows end with a line, or with NUL where names may hold line breaks.
        """
        kept = bytes(self._kept[:limit])
        if limit is None and not self.whole:
            end = max(kept.rfind(b"\n"), kept.rfind(b"\0"))
            kept = kept[: end + 1] if end >= 0 else kept
        return kept.decode("utf-8", "replace")


async def conclude(invocation: Invocation, written: ProgramOutput, exit_code: int) -> Outcome:
    """The outcome of a program that ended; a negative code is the signal that ended it."""
    good = _succeeded(invocation, written, exit_code)
    unreadable = _unreadable(invocation, written, exit_code)
    problem: str | None = None
    output: dict[str, Any] = {"exit_code": exit_code}
    if written.stdout_bytes <= _QUICK_BYTES:
        problem = _parse(invocation.parser, written, exit_code, output)
    else:
        # Parsing megabytes would stop every other attempt of this process meanwhile.
        problem = await asyncio.to_thread(_parse, invocation.parser, written, exit_code, output)
    if invocation.stderr_lines:
        _add_errors(output, written.errors)
    if unreadable is not None:
        whole = output.get("complete", True) is True
        output |= jsonable(unreadable.fields)
        output["complete"] = whole and unreadable.complete
    if not good and invocation.reports:
        reported = python_programs.reported(written.last_error)
        if reported is not None and reported.error_class in ERROR_CLASSES:
            return fail(invocation, reported.error_class, reported.message, output)
    if not good and not _went_on(unreadable):
        named = None if unreadable is None else unreadable.named
        if named is not None:
            error_class, said = unread.class_of(named), f"{named.path}: {named.reason}"
        else:
            error_class, said = _cause(invocation, written)
        return fail(invocation, error_class, _sentence(invocation, said, exit_code), output)
    warned = _found(invocation.warnings, written.errors) if good else None
    if warned is not None:
        return fail(invocation, warned[0], _sentence(invocation, warned[1], exit_code), output)
    if problem is not None:
        return fail(invocation, "output_unparsable", problem, output)
    return Success(output)


def _add_errors(output: dict[str, Any], errors: str) -> None:
    lines = errors.splitlines()
    output["stderr"] = lines[:_MOST_ERRORS]
    if len(lines) > _MOST_ERRORS:
        mark(output, "stderr", _MOST_ERRORS, None)


def _succeeded(invocation: Invocation, written: ProgramOutput, exit_code: int) -> bool:
    if exit_code in invocation.success_codes:
        return True
    return exit_code in invocation.silent_codes and written.silent


def _unreadable(
    invocation: Invocation, written: ProgramOutput, exit_code: int
) -> unread.Reading | None:
    """What the program could not read; None where it does not say so, or failed otherwise.

    An answer of which a part was not kept is not complete.
    """
    rule = invocation.unread
    if rule is None:
        return None
    if exit_code not in (*rule.codes, *invocation.success_codes):
        return None
    found = unread.read(rule, invocation.argv[0], written.errors)
    if exit_code in rule.codes:
        return found
    return replace(found, complete=written.whole and not found.entries)


def _went_on(unreadable: unread.Reading | None) -> bool:
    """Whether it read what the caller named, and only missed something below."""
    return unreadable is not None and bool(unreadable.paths) and unreadable.named is None


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


def _cause(invocation: Invocation, written: ProgramOutput) -> tuple[str, str]:
    """The error class that the tool gives to what the program wrote last, and the line that says
    so; else the last line, which may be no more than where to find help."""
    found = _found(invocation.failures, written.last_text)
    if found is not None:
        return found[0], found[1] or written.last_error
    return "exit_status", written.last_error


def _found(rules: tuple[tuple[str, str], ...], words: str) -> tuple[str, str] | None:
    """The class of the first rule that `words` fit, and the line that says so."""
    for pattern, error_class in rules:
        found = re.search(pattern, words)
        if found is not None:
            begin = words.rfind("\n", 0, found.start() + 1) + 1
            line = words[begin:].lstrip("\n").partition("\n")[0].strip()
            return error_class, line
    return None


def _sentence(invocation: Invocation, said: str, exit_code: int) -> str:
    program = invocation.called or invocation.argv[0]
    if exit_code < 0:
        text = f"{program} was ended by signal {-exit_code}"
    else:
        text = f"{program} ended with exit code {exit_code}"
    return f"{text}: {said}" if said else text
