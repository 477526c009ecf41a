"""Ending the whole tree of a program on this machine, with evidence."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from drivers import processes
from drivers.processes import Traces

#: Until SIGKILL has taken effect.
KILL_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05
#: Process ids in the evidence: enough for any program that is not a fork bomb.
_LISTED: Final = 200
#: Of its own: whatever holds up the others, programs are ended.
_THREADS: Final = ThreadPoolExecutor(4, thread_name_prefix="ending")
T = TypeVar("T")


async def end_tree(
    traces: Traces, grace_seconds: float, *, first_alone: bool = False
) -> dict[str, Any]:
    """SIGTERM to every process of the attempt, SIGKILL after the grace; the evidence of it.

    With `first_alone` only the first process gets SIGTERM while it runs, and tells the others.
    `pids_ended` ran when the cancel came and have ended; `cancel_unconfirmed` is a sentence where
    some still run, or where this system cannot find out.
    """
    if not processes.supported():
        return await _end_group(traces.leader or 0, grace_seconds)
    known = await _in_thread(processes.find, traces)
    alive = set(known)
    first = {member for member in alive if member.pid == traces.leader} if first_alone else set()
    forbidden = processes.send(first or alive, signal.SIGTERM)
    number = signal.SIGTERM
    begun = time.monotonic()
    while alive and time.monotonic() - begun < grace_seconds + KILL_SECONDS:
        await asyncio.sleep(_POLL_SECONDS)
        alive = await _in_thread(processes.find, traces, frozenset(known))
        if time.monotonic() - begun >= grace_seconds:
            number = signal.SIGKILL
            await _in_thread(processes.kill, traces, frozenset(known))
        elif not first & alive:
            # Once the first one has ended, nobody tells what it has left.
            forbidden |= processes.send(alive if first else alive - known, number)
            first = set()
        known |= alive
    evidence: dict[str, Any] = {
        "pids_ended": sorted(member.pid for member in known - alive)[:_LISTED],
        "last_signal": number.name,
        "grace_seconds": grace_seconds,
        "seconds": round(time.monotonic() - begun, 3),
    }
    if alive:
        pids = ", ".join(str(member.pid) for member in sorted(alive, key=lambda one: one.pid))
        why = " (not permitted)" if forbidden & alive else ""
        evidence["cancel_unconfirmed"] = f"still running{why}: {pids}"
    return evidence


async def _in_thread(search: Callable[..., T], *given: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, partial(search, *given))


async def _end_group(leader: int, grace_seconds: float) -> dict[str, Any]:
    found = False
    for number, seconds in (
        (signal.SIGTERM, grace_seconds),
        (signal.SIGKILL, KILL_SECONDS),
    ):
        deadline = time.monotonic() + seconds
        try:
            os.killpg(leader, number)
            found = True
            while time.monotonic() < deadline:
                os.killpg(leader, 0)
                await asyncio.sleep(_POLL_SECONDS)
        except ProcessLookupError:
            break
    if not found:
        return {}
    return {"cancel_unconfirmed": "without /proc only the process group is known to be ended"}
