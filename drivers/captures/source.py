"""The capture that a tool reads: a stored one, or one made for it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from drivers.captures.capturing import Captured, capture, in_thread
from drivers.captures.files import CaptureFile, look_at
from drivers.captures.plain_copy import copy_plainly
from drivers.captures.store import CaptureStore, NoSuchCapture, NotACapture, Stored
from drivers.cleanup import run_uncancelled
from drivers.context import Failure, RunContext
from drivers.errors import fail
from toolmeta.invocation import Invocation

_DISK_SECONDS: Final = 30.0

Origin = Captured | Stored | CaptureFile


@asynccontextmanager
async def made_before(
    invocation: Invocation, context: RunContext, *, plain: bool = False
) -> AsyncIterator[tuple[Path, Origin] | Failure]:
    """The capture that the step names: one of the store, or a file below an operator's folder.

    With `plain` the path is that of a copy of the file that every program reads.
    """
    values = invocation.arguments
    store = CaptureStore(context.resources.settings)
    if not values.get("file"):
        try:
            stored, path = await in_thread(
                lambda: store.find(str(values["capture"]), context.command.tenant)
            )
        except NoSuchCapture as error:
            yield fail(invocation, "not_found", str(error))
            return
        yield path, stored
        return
    found = await in_thread(lambda: look_at(invocation, context, str(values["file"])))
    if isinstance(found, Failure) or not plain:
        yield found if isinstance(found, Failure) else (found[1], found[0])
        return
    about_file, path = found
    # Counted and pruned as a capture that is being written.
    name = f"{secrets.token_hex(8)}.part"
    copy = await in_thread(lambda: store.scratch() / name)
    try:
        problem = await in_thread(lambda: _problem_of_copy(path, copy))
        if problem is not None:
            yield fail(invocation, "output_unparsable", problem)
        else:
            yield copy, about_file
    finally:
        await run_uncancelled(in_thread(lambda: copy.unlink(missing_ok=True)), _DISK_SECONDS)


def _problem_of_copy(path: Path, copy: Path) -> str | None:
    try:
        copy_plainly(path, copy)
    except NotACapture as error:
        return str(error)
    return None


@asynccontextmanager
async def source(
    invocation: Invocation,
    context: RunContext,
    argv: list[str],
    own_end: float = 0.0,
    *,
    plain: bool = False,
) -> AsyncIterator[tuple[Path, Origin] | Failure]:
    """The capture to read: one made before, or one made by `argv` and deleted afterwards."""
    values = invocation.arguments
    if not values.get("interface"):
        async with made_before(invocation, context, plain=plain) as opened:
            yield opened
        return
    store = CaptureStore(context.resources.settings)
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


def about(origin: Origin, *, kept: bool) -> dict[str, Any]:
    """The fields of the output that describe the capture."""
    if isinstance(origin, CaptureFile):
        return {"capture": None, "file": asdict(origin)}
    if isinstance(origin, Stored):
        return {"capture": asdict(origin)}
    entry = asdict(origin.stored) if kept else None
    return {"capture": entry, "ended_by": origin.limit, "dropped_packets": origin.dropped}
