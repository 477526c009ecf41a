"""A launch server that is stopped and does not go on."""

from __future__ import annotations

import asyncio
import signal
import subprocess

import pytest

from drivers import launcher
from drivers.context import Failure, Success
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.integration.local_lab import argv


async def frozen(opened: Resources) -> subprocess.Popen[bytes]:
    """The launch server of these resources, stopped."""
    assert isinstance(await Run(opened, argv("true")).outcome(), Success)
    server = opened.launcher._server
    assert server is not None
    server.send_signal(signal.SIGSTOP)
    return server


def test_a_frozen_launch_server_costs_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inside() -> None:
        opened = Resources(settings())
        server = await frozen(opened)
        monkeypatch.setattr(launcher, "_START_SECONDS", 0.2)
        outcome = await Run(opened, argv("true")).outcome()
        assert isinstance(outcome, Failure) and outcome.error_class == "no_answer"
        monkeypatch.undo()
        assert isinstance(await Run(opened, argv("true")).outcome(), Success)
        assert server.poll() == -signal.SIGKILL
        await opened.close()

    asyncio.run(inside())


def test_a_frozen_launch_server_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_END_SECONDS", 0.1)

    async def inside() -> int | None:
        opened = Resources(settings())
        server = await frozen(opened)
        await opened.close()
        return server.poll()

    assert asyncio.run(inside()) == -signal.SIGKILL
