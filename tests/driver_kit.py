"""What driver tests share: a command, a context that records, and a way to cancel."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.registry import DRIVERS
from drivers.resources import Resources
from runtime.settings import ExecutorSettings
from streams.commands import StepCommand
from tests.stack_environment import without_stack
from toolmeta.invocation import Invocation

#: One that every user may start; that of a virtual environment may lie in somebody's home.
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
EXECUTION = "01989c2a-7c00-8abc-9def-0123456789ab"


def command(**changed: Any) -> StepCommand:
    """A step command; what is not given does not matter."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "execution_id": EXECUTION,
        "step": "one",
        "attempt": 1,
        "tool": "any",
        "domain": "test",
        "parameters": {},
        "tenant": "acme",
        "actor": "ci@acme",
        "environment": "dev",
        "timeout_seconds": 60.0,
        "lease_seconds": 30.0,
        "dispatched_at": now,
        "expires_at": now + timedelta(minutes=5),
    }
    return StepCommand(**{**fields, **changed})


def settings(**changed: Any) -> ExecutorSettings:
    """Executor settings by field name; nothing of the stack of other tests is among them."""
    with without_stack():
        return ExecutorSettings(**changed)


@dataclass
class RecordedOutput:
    """An output writer that keeps what it gets; `delay` seconds make it slow."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    largest: int = 0

    async def write(self, stream: str, data: bytes) -> None:
        """Keep it."""
        self.largest = max(self.largest, len(data))
        (self.stdout if stream == "stdout" else self.stderr).extend(data)


@dataclass
class Run:
    """One attempt under test."""

    resources: Resources
    invocation: Invocation
    command: StepCommand = field(default_factory=command)
    output: Any = field(default_factory=RecordedOutput)
    progress: list[tuple[float | None, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = RunContext(
            command=self.command,
            output=self.output,
            resources=self.resources,
            report_progress=lambda percent, message: self.progress.append((percent, message)),
        )

    async def outcome(self, seconds: float = 90.0) -> Outcome:
        """Run it to its end."""
        driver = DRIVERS[self.invocation.driver]
        async with asyncio.timeout(seconds):
            return await driver.run(self.invocation, self.context)

    def cancel(self, task: asyncio.Task[Outcome]) -> None:
        """End the attempt that runs in `task` as the agent does."""
        self.context.stop.requested = True
        task.cancel()

    async def cancelled(self, ready: Callable[[], bool], seconds: float = 90.0) -> dict[str, Any]:
        """Start it, cancel it as soon as `ready` says so; returns the evidence."""
        driver = DRIVERS[self.invocation.driver]
        task = asyncio.create_task(driver.run(self.invocation, self.context))
        await until(lambda: ready() or task.done())
        assert not task.done(), task.result()
        self.cancel(task)
        done, _ = await asyncio.wait({task}, timeout=seconds)
        assert done, "the driver did not end after the cancel"
        assert task.cancelled()
        return self.context.evidence


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


def block_until_over(pid: int, seconds: float = 15.0) -> None:
    """Block the whole event loop, as a freeze of the process does, until a program has ended."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        assert time.monotonic() < deadline, "the program did not end in time"
        time.sleep(0.01)


def succeeded(outcome: Outcome) -> dict[str, Any]:
    """The output of an attempt that did what it should."""
    assert isinstance(outcome, Success), outcome
    return outcome.output


def failed(outcome: Outcome, error_class: str) -> str:
    """The sentence of a failure of this class."""
    assert isinstance(outcome, Failure), outcome
    assert outcome.error_class == error_class, outcome
    return outcome.message
