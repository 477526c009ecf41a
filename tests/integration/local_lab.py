"""Attempts that start programs on this machine, and the processes that come of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from drivers import process_cgroups
from drivers.processes import MARK
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta.invocation import Invocation


@asynccontextmanager
async def resources(**wanted: object) -> AsyncIterator[Resources]:
    opened = Resources(settings(**wanted))
    try:
        yield opened
    finally:
        await opened.close()


def argv(*words: str, **more: object) -> Invocation:
    return Invocation("argv", "command", argv=words, **more)  # type: ignore[arg-type]


def skip_where_root_is_unbounded() -> None:
    """An executor runs steps as root only where something bounds the number of their processes."""
    if os.geteuid() == 0 and process_cgroups.find() is None and not process_cgroups.bounded():
        pytest.skip("nothing bounds the processes of root on this machine")


def child_names() -> set[str]:
    """Names of the living processes that this one has started."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(child.name())
        except psutil.NoSuchProcess:
            continue
    return found


def programs_of(executors: set[int]) -> list[str]:
    """The marks of the living programs whose executors have these process ids.

    A mark is `<execution>:<step>:<attempt>:<executor>`; only those of programs that this user may
    look at.
    """
    marks = (
        (process.info["environ"] or {}).get(MARK, "")
        for process in psutil.process_iter(["environ"])
    )
    return [mark for mark in marks if mark.rpartition(":")[2] in {str(one) for one in executors}]


def run(
    invocation: Invocation, wanted: dict[str, object] | None = None, **more: object
) -> tuple[object, Run]:
    async def inside() -> tuple[object, Run]:
        async with resources(**(wanted or {})) as opened:
            attempt = Run(opened, invocation, **more)  # type: ignore[arg-type]
            return await attempt.outcome(), attempt

    return asyncio.run(inside())


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def pids_in(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
