"""The `packets` driver: tcpdump with its capture store, tshark, ngrep and tcpflow.

tcpdump: `capture`, and `list`, `fetch`, `delete` of what is stored. tshark and tcpflow make a
capture first, or read a stored one; ngrep listens or reads. A capture that a tool made for its
own use is deleted at its end, unless `keep` is true.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from drivers import local
from drivers.analysis.driver import analyse_file
from drivers.analysis.findings import Options, readable
from drivers.captures import tshark
from drivers.captures.capturing import (
    KeptErrors,
    absent,
    capture,
    in_thread,
    limit_seconds,
    missing,
    tcpdump,
    timed,
)
from drivers.captures.sentences import explained
from drivers.captures.source import about, made_before, source
from drivers.captures.store import CaptureStore, NoSuchCapture
from drivers.cleanup import run_uncancelled
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from toolmeta.invocation import Invocation

_DISK_SECONDS: Final = 30.0
#: tshark takes a second or two to start and to end.
_OWN_END_SECONDS: Final = 15.0
_FLOW_BYTES: Final = 1024 * 1024
_TALKERS: Final = 10


class PacketDriver:
    """Listens to the network of the executor itself, or reads what was captured."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Do the operation that the tool names."""
        context.not_acting()
        tools: dict[str, Callable[[Invocation, RunContext], Awaitable[Outcome]]] = {
            "tcpdump": _tcpdump,
            "tshark": _tshark,
            "ngrep": _ngrep,
            "tcpflow": _tcpflow,
        }
        return await tools[str(invocation.call)](invocation, context)


async def _tcpdump(invocation: Invocation, context: RunContext) -> Outcome:
    values, tenant = invocation.arguments, context.command.tenant
    store = CaptureStore(context.resources.settings)
    action = values["action"]
    try:
        if action == "list":
            rows = [asdict(stored) for stored in await in_thread(lambda: store.list(tenant))]
            return Success({"action": action, "captures": rows, "count": len(rows)})
        if action == "fetch":
            offset, length = int(values["offset"]), int(values["length"])
            ident = str(values["capture"])
            piece = await in_thread(lambda: store.chunk(ident, tenant, offset, length))
            return Success({"action": action, **piece})
        if action == "delete":
            stored, _ = await in_thread(lambda: store.find(str(values["capture"]), tenant))
            context.acting()
            await in_thread(lambda: store.drop(stored.id))
            return Success({"action": action, "deleted": True, "capture": asdict(stored)})
    except NoSuchCapture as error:
        return fail(invocation, "not_found", str(error))
    packets, seconds = int(values["packets"]), float(values["seconds"])
    argv = tcpdump(values, values.get("filter"))
    made = await capture(invocation, context, argv, packets, seconds)
    if isinstance(made, Failure):
        return made
    _, path = await in_thread(lambda: store.find(made.stored.id, tenant))
    found = await analyse_file(invocation, context, path, "summary", Options(limit=_TALKERS))
    if isinstance(found, Failure):
        return found
    return Success({"action": action, **about(made, kept=True), **found})


async def _tshark(invocation: Invocation, context: RunContext) -> Outcome:
    values = invocation.arguments
    problem = missing(invocation, context, "tshark", raw=False)
    if problem is not None:
        return problem
    argv = tshark.capture_argv(values, limit_seconds(context, float(values["seconds"])))
    async with source(invocation, context, argv, _OWN_END_SECONDS) as opened:
        if isinstance(opened, Failure):
            return opened
        path, origin = opened
        stderr = KeptErrors(context.output)
        outcome = await local.run(
            replace(
                invocation,
                driver="command",
                argv=tuple(tshark.read_argv(values, str(path))),
                env={"LC_ALL": "C.UTF-8", "TZ": "UTC"},
                parser="json:rows",
                success_codes=(0, tshark.CUT_SHORT),
            ),
            replace(context, output=stderr),
        )
        if isinstance(outcome, Failure):
            return explained(invocation, outcome, stderr.tail)
        if outcome.output["exit_code"] and not tshark.cut_short(stderr.tail):
            failure = fail(invocation, "exit_status", "tshark ended with exit code 2")
            return explained(invocation, failure, stderr.tail)
        extra = about(origin, kept=bool(values.get("keep")))
        return Success({**extra, **tshark.findings(outcome.output, values)})


async def _ngrep(invocation: Invocation, context: RunContext) -> Outcome:
    values = invocation.arguments
    live = bool(values.get("interface"))
    problem = missing(invocation, context, "ngrep", raw=live) or absent(invocation)
    if problem is not None:
        return problem
    if live:
        return await _matches(invocation, context, ["-d", str(values["interface"])])
    async with made_before(invocation, context, plain=True) as opened:
        if isinstance(opened, Failure):
            return opened
        return await _matches(invocation, context, ["-I", str(opened[0])])


async def _matches(invocation: Invocation, context: RunContext, origin: list[str]) -> Outcome:
    values = invocation.arguments
    # It drops its privileges to those of the user nobody; the time of each packet is shown in UTC.
    argv = ["ngrep", "-q", "-t", "-l", "-W", "single", "-p"]
    argv += ["-n", str(values["packets"])]
    argv += [flag for flag, name in (("-i", "ignore_case"), ("-w", "word")) if values.get(name)]
    if values.get("invert"):
        argv.append("-v")
    argv += [*origin, "--", str(values["pattern"])]
    argv += [str(values["filter"])] if values.get("filter") else []
    seconds = limit_seconds(context, float(values["seconds"]))
    stderr = KeptErrors(context.output)
    outcome = await local.run(
        replace(
            invocation,
            driver="command",
            argv=timed(seconds, argv),
            env={"LC_ALL": "C.UTF-8", "TZ": "UTC"},
            parser="ngrep",
            success_codes=(0, 1),
        ),
        replace(context, output=stderr),
    )
    if isinstance(outcome, Failure):
        return explained(invocation, outcome, stderr.tail)
    if outcome.output["exit_code"] and stderr.tail.strip():
        # 1 also means that nothing matched, but then stderr is empty.
        return explained(invocation, fail(invocation, "exit_status", "ngrep failed"), stderr.tail)
    outcome.output["exit_code"] = 0
    return outcome


async def _tcpflow(invocation: Invocation, context: RunContext) -> Outcome:
    values = invocation.arguments
    problem = missing(invocation, context, "tcpflow", raw=False)
    if problem is not None:
        return problem
    store = CaptureStore(context.resources.settings)
    live = bool(values.get("interface"))
    argv = tcpdump(values, _tcp_only(values.get("filter"))) if live else []
    async with source(invocation, context, argv, plain=True) as opened:
        if isinstance(opened, Failure):
            return opened
        path, origin = opened
        folder = await in_thread(
            lambda: Path(tempfile.mkdtemp(prefix="flows-", dir=store.scratch()))
        )
        try:
            words = ["tcpflow", "-q", "-Z", "-b", str(_FLOW_BYTES), "-X", "/dev/null"]
            words += ["-f", "64", "-o", str(folder), "-r", str(path), "--"]
            words += [values["filter"]] if values.get("filter") and not live else []
            outcome = await local.run(
                replace(invocation, driver="command", argv=tuple(words), parser=None), context
            )
            if isinstance(outcome, Failure):
                return explained(invocation, outcome, outcome.message.encode())
            flows = await in_thread(lambda: _flows(folder))
        finally:
            await run_uncancelled(
                asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True), _DISK_SECONDS
            )
        limit = int(values["limit"])
        found = {"exit_code": 0, "count": len(flows), "flows": flows[:limit]}
        return Success({**about(origin, kept=bool(values.get("keep"))), **found})


def _tcp_only(expression: str | None) -> str:
    return f"tcp and ({expression})" if expression else "tcp"


def _flows(folder: Path) -> list[dict[str, Any]]:
    """The directions that tcpflow has reassembled, one file each: `addr.port-addr.port`."""
    found = []
    for path in sorted(folder.iterdir()):
        ends = path.name.split("-")
        if len(ends) != 2 or not path.is_file():
            continue
        source_end, destination_end = _end(ends[0]), _end(ends[1])
        if source_end is None or destination_end is None:
            continue
        data = path.read_bytes()
        found.append(
            {
                "source": source_end[0],
                "source_port": source_end[1],
                "destination": destination_end[0],
                "destination_port": destination_end[1],
                "bytes": len(data),
                "cut": len(data) >= _FLOW_BYTES,
                "sha256": hashlib.sha256(data).hexdigest(),
                "text": readable(data, 1_000),
            }
        )
    return found


def _end(text: str) -> tuple[str, int] | None:
    address, _, port = text.rpartition(".")
    # The name of a second connection of the same ends has a letter and a number after the port.
    digits = port[:5]
    if not digits.isdigit():
        return None
    parts = address.split(".")
    if len(parts) == 4 and all(part.isdigit() for part in parts):
        return ".".join(str(int(part)) for part in parts), int(digits)
    return address, int(digits)
