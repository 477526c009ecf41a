"""Cleaning up without being interrupted by a further cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_uncancelled(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Run `work` to its end however often the caller is cancelled meanwhile.

    Raises TimeoutError after `seconds`. The caller raises its CancelledError again afterwards.
    """
    task = asyncio.ensure_future(_within(work, seconds))
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
    return task.result()


async def _within(work: Coroutine[Any, Any, T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await work
