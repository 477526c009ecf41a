"""A cancel of a pipeline, and what is known after it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from drivers.context import Success
from drivers.powershell import session
from drivers.resources import Resources
from tests import driver_kit
from tests.driver_kit import Run
from tests.fakes.psrp.server import FakeWindows
from tests.fakes.psrp.shells import Reply
from tests.tools.windows.kit import Lab, bound, login


def cancelled(
    lab: Lab, host: FakeWindows, when: Any, **given: Any
) -> tuple[dict[str, Any], FakeWindows]:
    """The evidence of a cancel."""

    async def inside() -> dict[str, Any]:
        settings = driver_kit.settings(winrm_ca_file=str(lab.authority.ca_file))
        resources = Resources(settings)
        try:
            invocation = bound("powershell", {**login(host), "script": "Start-Sleep 999", **given})
            return await Run(resources, invocation).cancelled(when, 60)
        finally:
            await resources.close()

    return asyncio.run(inside()), host


def test_cancel_stops_the_pipeline_and_says_so(lab: Lab) -> None:
    host = lab.host(lambda _: Reply(hang=True))
    evidence, _ = cancelled(lab, host, lambda: bool(host.calls))
    assert evidence == {"host": "127.0.0.1", "pipeline": "stopped", "shell": "deleted"}
    assert host.calls[0].stopped
    assert host.signals == ["powershell/signal/ctrl_c"]
    assert host.shells == {}


def test_cancel_that_the_host_does_not_obey_is_unconfirmed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_STOP_SECONDS", 1.0)
    host = lab.host(lambda _: Reply(hang=True, stubborn=True))
    evidence, _ = cancelled(lab, host, lambda: bool(host.calls))
    assert "did not say" in evidence["cancel_unconfirmed"]


def test_a_pipeline_that_completed_before_the_cancel_has_its_own_end(lab: Lab) -> None:
    """The executor was frozen: the pipeline's end and the cancel meet it together."""
    host = lab.host(lambda _: Reply())

    async def inside() -> Any:
        resources = Resources(driver_kit.settings(winrm_ca_file=str(lab.authority.ca_file)))
        try:
            run = Run(resources, bound("powershell", {**login(host), "script": "Stop-Process 7"}))
            task = asyncio.create_task(run.outcome())
            await driver_kit.until(lambda: bool(host.calls))
            for thread in threading.enumerate():
                if thread.name == "winrm":
                    thread.join(20)
                    assert not thread.is_alive()
            run.cancel(task)
            return await task, run.context.evidence
        finally:
            await resources.close()

    found, evidence = asyncio.run(inside())
    assert isinstance(found, Success) and evidence == {}


def test_cancel_before_anything_ran_is_certain(lab: Lab) -> None:
    host = lab.host()
    host.awake.clear()

    def begun() -> bool:
        if not host.wire:
            return False
        asyncio.get_running_loop().call_later(0.3, host.awake.set)
        return True

    evidence, _ = cancelled(lab, host, begun)
    assert evidence["pipeline"] == "never started"
    assert "cancel_unconfirmed" not in evidence
    assert host.calls == []
