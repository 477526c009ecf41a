"""Router and executor say the same of the operator's own tools, in the same words."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from processors.executors import app as executor
from processors.router import app as router
from runtime import logs
from runtime.logs import Log
from runtime.settings import CommonSettings
from tests.own_tools import SAY_GOODBYE, write
from toolmeta.own_tools import OwnTools
from toolmeta.registry import Registry

Watch = Callable[[Registry, Log, threading.Event], None]


class NoPolicy:
    """A policy that does not change."""

    def refresh(self) -> bool:
        return False


def of_router(tools: Registry, log: Log, stop: threading.Event) -> None:
    router._watch(tools, NoPolicy(), log, stop)  # type: ignore[arg-type]


def said(watch: Watch, folder: Path, captured: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """The lines of the log after a good change and a wrong one."""
    log = logs.configure(CommonSettings(log_format="json"), "any")
    tools, stop = Registry((), own=OwnTools(folder)), threading.Event()
    thread = threading.Thread(target=watch, args=(tools, log, stop))
    thread.start()
    lines: list[dict[str, str]] = []

    def wait(count: int) -> None:
        deadline = time.monotonic() + 20
        while len(lines) < count:
            assert time.monotonic() < deadline, lines
            lines.extend(json.loads(line) for line in captured.readouterr().err.splitlines())
            time.sleep(0.02)

    try:
        write(folder)
        wait(1)
        write(folder, SAY_GOODBYE.replace("domain:", "dominion:"))
        wait(2)
    finally:
        stop.set()
        thread.join(20)
    return lines


def test_both_processes_log_own_tools_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o755)
    told = {}
    for name, watch in (("executor", executor._watch), ("router", of_router)):
        folder = tmp_path / name
        (folder / "automation").mkdir(parents=True, mode=0o755)
        told[name] = said(watch, folder, capsys)
    for read, refused in told.values():
        assert (read["event"], read["level"]) == ("own tools read", "info")
        assert str(read["version"]) == "1"
        assert (refused["event"], refused["level"]) == ("own tools not read", "error")
        assert "automation/say_hello" in refused["why"] and refused["kept"] == "those before"
    names = [[sorted(line) for line in lines] for lines in told.values()]
    assert names[0] == names[1]
