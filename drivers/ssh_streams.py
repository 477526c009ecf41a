"""What a host sends over one session: words of our own scripts, by their token, and output."""

from __future__ import annotations

import asyncio
from typing import Final

from drivers.launcher import READ_BYTES
from drivers.program_output import Source
from drivers.remote import Token

#: Of a stream, before a line that only the script can write.
_MOST_BEFORE: Final = 64 * 1024
#: Of what the host wrote in place of the token, in a message.
_QUOTED: Final = 200


class TooMuchBefore(Exception):
    """The host wrote more than it may without the token."""


class _Stream:
    def __init__(self, source: Source, token: Token) -> None:
        self._source = source
        self.token = token
        self._kept = b""

    async def word(self) -> str | None:
        """The word after the token in the next line with it, None at the end; drops the rest.

        Raises TooMuchBefore.
        """
        while True:
            line = self.token.line
            start = self._kept.find(line)
            end = self._kept.find(b"\n", start) if start >= 0 else -1
            if end >= 0:
                word = self._kept[start + len(line) : end]
                self._kept = self._kept[end + 1 :]
                return word.decode("utf-8", "replace").strip()
            if len(self._kept) > _MOST_BEFORE:
                raise TooMuchBefore
            data = await self._source.read(READ_BYTES)
            if not data:
                return None
            self._kept += data

    async def read(self, n: int, /) -> bytes:
        """At most `n` bytes of what follows."""
        if self._kept:
            data, self._kept = self._kept[:n], self._kept[n:]
            return data
        return await self._source.read(n)

    @property
    def lines(self) -> list[str]:
        """What came without the token, each line cut."""
        lines = (line.strip() for line in self._kept.decode("utf-8", "replace").splitlines())
        return ["".join(filter(str.isprintable, line[:_QUOTED])) for line in lines if line]


class Streams:
    """Stdout and stderr of one session; as a source, stderr of the program."""

    def __init__(self, stdout: Source, stderr: Source, token: Token) -> None:
        """Nothing read yet."""
        self.stdout = _Stream(stdout, token)
        self._stderr = _Stream(stderr, token)
        self._waiting: dict[_Stream, asyncio.Task[str | None]] = {}
        #: Stderr is the program's from now on, or has ended.
        self._errors = False

    def expect(self, token: Token) -> None:
        """Look for the words of another script from now on."""
        self.stdout.token = self._stderr.token = token
        self._errors = False

    async def word(self) -> str | None:
        """The next word of either stream, since a host may make them one; None at the end.

        Both are read, so that neither fills. Raises TooMuchBefore.
        """
        while True:
            streams = [self.stdout] if self._errors else [self._stderr, self.stdout]
            for stream in streams:
                if stream not in self._waiting:
                    self._waiting[stream] = asyncio.create_task(stream.word())
            waited = [self._waiting[stream] for stream in streams]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for stream in streams:
                if not self._waiting[stream].done():
                    continue
                word = self._waiting.pop(stream).result()
                if stream is self._stderr and word in (None, "errors"):
                    self._errors = True
                elif word != "errors":
                    return word

    async def read(self, n: int, /) -> bytes:
        """At most `n` bytes of stderr, without what came before the program's own."""
        while not self._errors:
            waiting = self._waiting.pop(self._stderr, None)
            try:
                word = await (waiting or self._stderr.word())
            except TooMuchBefore:
                # Dropped, and not left: the program would wait for its reader.
                while await self._stderr.read(READ_BYTES):
                    continue
                return b""
            self._errors = word in (None, "errors")
        return await self._stderr.read(n)

    def close(self) -> None:
        """Wait for no word any more."""
        for task in self._waiting.values():
            if not task.cancel() and not task.cancelled():
                task.exception()  # Retrieved, so that asyncio does not log it.

    @property
    def said(self) -> list[str]:
        """The lines that came without the token, the errors last."""
        return [*self.stdout.lines, *self._stderr.lines]
