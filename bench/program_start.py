"""What it costs to start a program and take its end: the time of `true`, one after another.

`python -m bench.program_start [COUNT]` prints the median and the 95th percentile in milliseconds,
through the driver of programs and, for comparison, through asyncio alone. No Kafka and no database.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from drivers.context import RunContext, Success
from drivers.registry import DRIVERS
from drivers.resources import Resources
from runtime.settings import ExecutorSettings
from streams.commands import StepCommand
from toolmeta.invocation import Invocation

_WARM_UP = 20


class _NoOutput:
    async def write(self, stream: str, data: bytes) -> None:
        """`true` writes nothing."""


def _context(resources: Resources) -> RunContext:
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "execution_id": "01989c2a-7c00-8abc-9def-0123456789ab",
        "step": "start",
        "attempt": 1,
        "tool": "true",
        "domain": "test",
        "parameters": {},
        "tenant": "bench",
        "actor": "bench",
        "environment": "dev",
        "timeout_seconds": 60.0,
        "lease_seconds": 30.0,
        "dispatched_at": now,
        "expires_at": now + timedelta(minutes=5),
    }
    return RunContext(
        command=StepCommand(**fields),
        output=_NoOutput(),
        resources=resources,
        report_progress=lambda percent, message: None,
    )


async def _measure(name: str, start: Callable[[], Awaitable[None]], count: int) -> None:
    taken: list[float] = []
    for _ in range(_WARM_UP + count):
        began = time.perf_counter()
        await start()
        taken.append((time.perf_counter() - began) * 1000)
    taken = sorted(taken[_WARM_UP:])
    print(f"{name:8} {statistics.median(taken):6.2f} ms  p95 {taken[int(count * 0.95)]:6.2f} ms")


async def _main(count: int) -> None:
    resources = Resources(ExecutorSettings(environment="dev"))
    invocation = Invocation("true", "command", argv=("true",), success_codes=(0,))

    async def driver() -> None:
        outcome = await DRIVERS["command"].run(invocation, _context(resources))
        assert isinstance(outcome, Success), outcome

    async def bare() -> None:
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()

    await _measure("asyncio", bare, count)
    await _measure("driver", driver, count)
    await resources.close()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
