"""Blocking work on the disk in threads, whose end a cancel waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final, TypeVar

from drivers.cleanup import run_uncancelled

A = TypeVar("A")
T = TypeVar("T")

_DISK_SECONDS: Final = 60.0


async def in_thread(work: Callable[[A], T], given: A) -> T:
    """Disk work in a thread; a cancel waits for its end, so that the file may then be closed."""
    running = asyncio.ensure_future(asyncio.to_thread(work, given))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await run_uncancelled(asyncio.wait({running}), _DISK_SECONDS)
        if running.done() and not running.cancelled():
            running.exception()  # Retrieved, so that asyncio does not log it.
        raise


@asynccontextmanager
async def threaded(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """The same with its beginning and its end in threads."""
    entering = asyncio.ensure_future(asyncio.to_thread(manager.__enter__))
    try:
        value = await asyncio.shield(entering)
    except asyncio.CancelledError as error:
        await run_uncancelled(asyncio.wait({entering}), _DISK_SECONDS)
        if entering.done() and entering.exception() is None:
            await _leave(manager, error)
        raise
    try:
        yield value
    except BaseException as error:
        await _leave(manager, error)
        raise
    await run_uncancelled(asyncio.to_thread(manager.__exit__, None, None, None), _DISK_SECONDS)


async def _leave(manager: AbstractContextManager[T], error: BaseException) -> None:
    work = asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
    await run_uncancelled(work, _DISK_SECONDS)
