"""Programs of steps on this machine under given settings, for the tests of what confines them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from runtime.step_limits import StepLimits
from tests.driver_kit import Run, settings
from tests.integration.local_lab import argv

as_root = pytest.mark.root_only

#: One that every user may start; that of a virtual environment may lie in somebody's home.
PYTHON = "/usr/bin/python3"
needs_python = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"{PYTHON} is not installed")


def run(*words: str, wanted: dict[str, Any] | None = None, **more: Any) -> tuple[Outcome, Run]:
    """Run one program with these settings."""

    async def inside() -> tuple[Outcome, Run]:
        opened = Resources(settings(**(wanted or {})))
        try:
            attempt = Run(opened, argv(*words, **more))
            return await attempt.outcome(60), attempt
        finally:
            await opened.close()

    return asyncio.run(inside())


def said(*words: str, **more: Any) -> str:
    outcome, _ = run(*words, **more)
    assert isinstance(outcome, Success), outcome
    return str(outcome.output["text"])


def limited(*words: str, limits: StepLimits, **wanted: Any) -> Failure:
    """The failure of a program that exceeds a limit; nothing of it is left."""
    before = set(psutil.pids())
    outcome, attempt = run(*words, wanted={"step_limits": limits, **wanted})
    assert isinstance(outcome, Failure), outcome
    assert outcome.error_class == "limit_exceeded", outcome
    assert not outcome.transient
    mark = attempt.command.execution_id
    for process in psutil.process_iter(["pid", "environ"]):
        if process.pid not in before:
            environ = process.info["environ"] or {}
            given = environ.get("STEP_ATTEMPT", "")
            # It ends with the process that started it: another one may test the same now.
            assert not (mark in given and given.endswith(f":{os.getpid()}")), process
    return outcome
