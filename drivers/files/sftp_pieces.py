"""Bytes of files over SFTP: several requests at a time, and never more than that in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Final

import asyncssh

#: Of one request. OpenSSH takes 255 KiB; others say less in their limits, or nothing: 32 KiB.
_MOST_BYTES: Final = 255 * 1024
#: Requests that are not answered yet.
_REQUESTS: Final = 16
#: For an answer; a broken connection is noticed earlier.
ANSWER_SECONDS: Final = 60.0

File = asyncssh.SFTPClientFile


class NoAnswer(Exception):
    """The host did not answer a request."""


def _size(stated: int) -> int:
    return min(stated or 32 * 1024, _MOST_BYTES)


async def read(file: File, size: int) -> AsyncGenerator[bytes, None]:
    """The first `size` bytes of a file in order, or all where it has fewer."""
    pending: deque[tuple[int, int, asyncio.Task[bytes]]] = deque()
    step, asked = _size(file.read_len), 0
    try:
        while asked < size or pending:
            while asked < size and len(pending) < _REQUESTS:
                wanted = min(step, size - asked)
                pending.append((asked, wanted, _read(file, asked, wanted)))
                asked += wanted
            offset, wanted, task = pending.popleft()
            piece = await _answer(task)
            if not piece:
                return
            yield piece
            if len(piece) < wanted:
                # A short answer is not the end: the rest is asked for before what follows.
                rest = wanted - len(piece)
                offset += len(piece)
                pending.appendleft((offset, rest, _read(file, offset, rest)))
    finally:
        await _drop([task for _, _, task in pending])


def _read(file: File, offset: int, size: int) -> asyncio.Task[bytes]:
    return asyncio.create_task(_read_piece(file, offset, size))


async def _read_piece(file: File, offset: int, size: int) -> bytes:
    try:
        piece: Any = await file.read(size, offset)
    except asyncssh.SFTPEOFError:
        return b""
    if len(piece) > size:
        raise asyncssh.SFTPBadMessage("more bytes than were asked for")
    return bytes(piece)


class Writer:
    """Appends to a file."""

    def __init__(self, file: File) -> None:
        """Nothing written yet."""
        self._file = file
        self._step = _size(file.write_len)
        self._pending: deque[asyncio.Task[Any]] = deque()
        self.size = 0

    async def write(self, piece: bytes) -> None:
        """Return once few enough requests are open; an error of an earlier one is raised here."""
        for start in range(0, len(piece), self._step):
            part = piece[start : start + self._step]
            while len(self._pending) >= _REQUESTS:
                await _answer(self._pending.popleft())
            self._pending.append(asyncio.create_task(self._file.write(part, self.size)))
            self.size += len(part)

    async def flush(self) -> None:
        """Return once all is written."""
        while self._pending:
            await _answer(self._pending.popleft())

    async def drop(self) -> None:
        """Wait for nothing any more."""
        await _drop(self._pending)
        self._pending.clear()


async def _answer(task: asyncio.Task[Any]) -> Any:
    done, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
    if not done:
        await _drop([task])
        raise NoAnswer
    return task.result()


async def _drop(tasks: Any) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # Retrieved, so that asyncio does not log it.
