"""The `test` driver: does nothing, sleeps, or fails on purpose; for benchmarks and fault tests.

Its effect is one line appended to `settings.ledger`: `execution_id step attempt pid unix_time`.
It is written once, when the attempt begins to act, so that a ledger with the same attempt twice
proves a double start.

Calls: `noop`; `sleep` (`seconds`); `fail` (`times`: the first N attempts fail, default all;
`error_class`, default `injected`; `message`).
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from drivers.context import Outcome, RunContext, Success
from drivers.errors import ERROR_CLASSES, fail
from toolmeta.invocation import Invocation

_TICK_SECONDS = 0.5


class TestDriver:
    """Acts on nothing but the ledger."""

    #: Not a test case, whatever its name suggests to pytest.
    __test__ = False

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Write the ledger line, then do the operation of the call."""
        arguments = invocation.arguments
        if context.resources.settings.ledger is not None:
            _record(context, context.resources.settings.ledger)
        match invocation.call:
            case "noop" | None:
                return Success(_echo(arguments))
            case "sleep":
                seconds = float(arguments.get("seconds", 1.0))
                try:
                    await _sleep(seconds, context)
                except asyncio.CancelledError:
                    # The ledger line is the whole effect, and nothing still runs.
                    context.stop.ended, context.stop.effect = True, "done"
                    raise
                return Success({"slept_seconds": seconds, **_echo(arguments)})
            case "fail":
                return _fail(invocation, context)
            case other:
                return fail(invocation, "invalid_parameters", f"test has no operation {other!r}")


def _echo(arguments: dict[str, Any]) -> dict[str, Any]:
    """The value that a plan can pass through, to test references between steps."""
    return {"value": arguments["value"]} if arguments.get("value") is not None else {}


async def _sleep(seconds: float, context: RunContext) -> None:
    begun = time.monotonic()
    while (left := seconds - (time.monotonic() - begun)) > 0:
        await asyncio.sleep(min(left, _TICK_SECONDS))
        gone = min(time.monotonic() - begun, seconds)
        context.report_progress(100.0 * gone / seconds, f"{gone:.1f} of {seconds:g} s")


def _fail(invocation: Invocation, context: RunContext) -> Outcome:
    arguments = invocation.arguments
    attempt = context.command.attempt
    times = arguments.get("times")
    if times is not None and attempt > int(times):
        return Success({"attempt": attempt, **_echo(arguments)})
    error_class = str(arguments.get("error_class") or "injected")
    if error_class not in ERROR_CLASSES:
        return fail(invocation, "invalid_parameters", f"no error class {error_class!r}")
    message = str(arguments.get("message") or f"attempt {attempt} fails on purpose")
    return fail(invocation, error_class, message, {"attempt": attempt})


def _record(context: RunContext, ledger: str) -> None:
    command = context.command
    line = (
        f"{command.execution_id} {command.step} {command.attempt} {os.getpid()} {time.time():.6f}\n"
    )
    # One write with O_APPEND: lines of several executors never mix. It takes microseconds, so it
    # needs no thread.
    descriptor = os.open(Path(ledger), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
