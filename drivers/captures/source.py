"""The capture that a tool reads: a stored one, or one made for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from drivers.captures.capturing import Captured, capture, in_thread
from drivers.captures.store import CaptureStore, NoSuchCapture, Stored
from drivers.cleanup import run_uncancelled
from drivers.context import Failure, RunContext
from drivers.errors import fail
from toolmeta.invocation import Invocation

_DISK_SECONDS: Final = 30.0


@asynccontextmanager
async def source(
    invocation: Invocation, context: RunContext, argv: list[str], own_end: float = 0.0
) -> AsyncIterator[tuple[Path, Captured | Stored] | Failure]:
    """The capture to read: a stored one, or one made by `argv` and deleted afterwards."""
    values = invocation.arguments
    store = CaptureStore(context.resources.settings)
    if values.get("capture"):
        try:
            stored, path = await in_thread(
                lambda: store.find(str(values["capture"]), context.command.tenant)
            )
        except NoSuchCapture as error:
            yield fail(invocation, "not_found", str(error))
            return
        yield path, stored
        return
    packets, seconds = int(values["packets"]), float(values["seconds"])
    made = await capture(invocation, context, argv, packets, seconds, own_end)
    if isinstance(made, Failure):
        yield made
        return
    try:
        _, path = await in_thread(lambda: store.find(made.stored.id, context.command.tenant))
        yield path, made
    finally:
        if not values.get("keep"):
            work = in_thread(lambda: store.drop(made.stored.id))
            await run_uncancelled(work, _DISK_SECONDS)


def about(origin: Captured | Stored, *, kept: bool) -> dict[str, Any]:
    """The fields of the output that describe the capture."""
    if isinstance(origin, Stored):
        return {"capture": asdict(origin)}
    entry = asdict(origin.stored) if kept else None
    return {"capture": entry, "ended_by": origin.limit, "dropped_packets": origin.dropped}
