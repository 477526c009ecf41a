"""Capturing packets into the capture store: bounded by packets, seconds and bytes.

The capturing program writes to its stdout and this process writes the file: so the limit on bytes
holds whatever the program does, and a program that has dropped its privileges needs no permission
on the folder.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final, Literal, TypeVar

from drivers import local
from drivers.capabilities import missing_net_raw
from drivers.captures.sentences import explained
from drivers.captures.store import (
    CaptureStore,
    NotACapture,
    Stored,
    StoreFull,
)
from drivers.cleanup import run_uncancelled
from drivers.context import Failure, OutputWriter, RunContext
from drivers.errors import fail
from drivers.program_progress import by_time
from toolmeta.invocation import Invocation

_STDERR_KEPT: Final = 4_096
_DISK_SECONDS: Final = 30.0
#: From the request to end to SIGKILL.
_KILL_AFTER_SECONDS: Final = "2"
#: Exit codes of a program without a handler for SIGINT: through `timeout`, or directly.
INTERRUPTED: Final = (130, -2)
_DROPPED: Final = re.compile(r"(\d+) packets? dropped by kernel")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Captured:
    """A capture that is in the store; `limit` says what ended it."""

    stored: Stored
    limit: Literal["packets", "seconds", "bytes"]
    dropped: int | None


class _Full(Exception):
    """The file has its largest size."""


class KeptErrors:
    """Publishes both streams and keeps the end of stderr, which explains a failure."""

    def __init__(self, onward: OutputWriter) -> None:
        """Nothing was written yet."""
        self._onward = onward
        self.tail = b""

    async def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Publish it, with the same back-pressure."""
        if stream == "stderr":
            self.tail = (self.tail + data)[-_STDERR_KEPT:]
        await self._onward.write(stream, data)


class _ToFile:
    """Writes stdout to the file and publishes stderr; raises _Full where the file is full."""

    def __init__(self, file: BinaryIO, limit: int, onward: KeptErrors) -> None:
        self._file = file
        self._left = limit
        self._onward = onward

    async def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Write in order; a write to the page cache is short enough for the event loop."""
        if stream == "stderr":
            await self._onward.write(stream, data)
            return
        self._file.write(data[: self._left])
        self._left -= len(data)
        if self._left <= 0:
            raise _Full


def limit_seconds(context: RunContext, seconds: float) -> float:
    """How long a capture may listen: `seconds`, but no longer than the executor allows."""
    return min(seconds, context.resources.settings.capture_max_seconds)


async def in_thread(work: Callable[[], T]) -> T:
    """Disk work, in a thread."""
    return await asyncio.to_thread(work)


def missing(
    invocation: Invocation, context: RunContext, program: str, *, raw: bool
) -> Failure | None:
    """The failure where `program` is absent or, with `raw`, may not open raw sockets here."""
    path = shutil.which(program, path=local.program_path())
    if path is None:
        message = f"the program {program} is not installed on this executor"
        return fail(invocation, "program_missing", message)
    problem = missing_net_raw(path, invocation.tool) if raw else None
    if problem is not None and not context.resources.step_users.switches(invocation.tool):
        return fail(invocation, "capability_missing", problem)
    return not_permitted(invocation, context, program, raw=raw)


def not_permitted(
    invocation: Invocation, context: RunContext, program: str, *, raw: bool
) -> Failure | None:
    """The failure where programs of steps may not do here what this one does."""
    if not context.resources.step_users.switches(invocation.tool):
        return None
    if raw:
        need = "needs CAP_NET_RAW, which programs of steps have not"
    elif not invocation.arguments.get("interface"):
        need = "reads the executor's capture folder, which programs of steps may not"
    else:
        return None
    message = (
        f"{program} {need} on this executor; an operator can add {invocation.tool} to "
        "RUNSTREAM_ROOT_TOOLS"
    )
    return fail(invocation, "capability_missing", message)


def absent(invocation: Invocation) -> Failure | None:
    """The failure where `interface` is none of this machine's network interfaces, nor all of them.

    Capturing programs take more than that for an interface: a host to connect to (`TCP@host`),
    programs that they start (extcap), the journal, message buses, queues of the packet filter.
    """
    name = invocation.arguments.get("interface")
    if name is None or name == "any" or name in (found for _, found in socket.if_nameindex()):
        return None
    return fail(invocation, "not_found", f"this executor has no network interface {name}")


def timed(seconds: float, argv: list[str]) -> tuple[str, ...]:
    """The same program, interrupted after `seconds` as by Ctrl-C, its exit code kept."""
    kept = ["timeout", "--preserve-status", "--signal=INT", f"--kill-after={_KILL_AFTER_SECONDS}"]
    return (*kept, f"{seconds:g}", *argv)


async def capture(
    invocation: Invocation,
    context: RunContext,
    argv: list[str],
    packets: int,
    seconds: float,
    own_end: float = 0.0,
) -> Captured | Failure:
    """Run a program that writes a pcap to stdout, and keep what it wrote.

    It is interrupted after `seconds`, which is a normal end, or `own_end` later where its argv says
    when to end; `seconds` is cut to the executor's limit. On failure or cancel
    nothing stays in the store.
    """
    problem = (
        missing(invocation, context, argv[0], raw=True)
        or missing(invocation, context, "timeout", raw=False)
        or absent(invocation)
    )
    if problem is not None:
        return problem
    store = CaptureStore(context.resources.settings)
    try:
        ident, file = await in_thread(lambda: store.begin(context.command))
    except StoreFull as error:
        return fail(invocation, "store_full", str(error))
    except OSError as error:
        message = f"the capture folder cannot be written: {error.strerror}"
        return fail(invocation, "not_configured", message)
    kept = False
    try:
        stderr = KeptErrors(context.output)
        limit: Literal["packets", "seconds", "bytes"] = "seconds"
        try:
            listened = limit_seconds(context, seconds)
            async with by_time(context.report_progress, listened, "listening"):
                outcome = await local.run(
                    replace(
                        invocation,
                        driver="command",
                        argv=timed(listened + own_end, argv),
                        parser="field:raw",
                        # tshark reports the interrupt that ends it as its own end.
                        success_codes=(0, *INTERRUPTED),
                    ),
                    replace(context, output=_ToFile(file, store.max_bytes, stderr)),
                )
            if isinstance(outcome, Failure):
                return explained(invocation, outcome, stderr.tail)
        except _Full:
            limit = "bytes"
        except asyncio.CancelledError:
            if context.stop.ended:
                # A capture that was stopped is deleted, whatever its program had written.
                context.evidence.pop("cancel_unconfirmed", None)
                context.stop.effect = "none"
            raise
        file.close()
        try:
            stored = await in_thread(
                lambda: store.finish(ident, context.command, truncated=limit == "bytes")
            )
        except NotACapture as error:
            return fail(invocation, "output_unparsable", str(error))
        kept = True
        if limit == "seconds" and stored.packets >= packets:
            limit = "packets"
        dropped = _DROPPED.search(stderr.tail.decode("utf-8", "replace"))
        return Captured(stored, limit, int(dropped[1]) if dropped else None)
    finally:
        file.close()
        if not kept:
            await run_uncancelled(in_thread(lambda: store.drop(ident)), _DISK_SECONDS)


def tcpdump(values: dict[str, Any], expression: str | None) -> list[str]:
    """The argv of a capture by tcpdump; the filter is one argument after `--`."""
    argv = ["tcpdump", "-n", "-U", "-w", "-", "-i", str(values["interface"])]
    argv += ["-c", str(values["packets"]), "-s", str(values.get("snap_bytes") or 0)]
    if not values.get("promiscuous"):
        argv.append("-p")
    return [*argv, "--", expression] if expression else argv
