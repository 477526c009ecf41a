"""systemctl on a real systemd: a manager of the test's own, without being process 1.

It is started as that of a user. Its socket also stands where the one of the system would be, in
mounts of the calls alone, so that nothing of this machine is asked or changed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers.context import Success
from tests.tools.driven import NEW_MOUNTS, Call, answer, failure, outcomes, root_only
from tests.tools.running import program, server

_SYSTEMD = Path("/lib/systemd/systemd")
_SERVICE = "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/true\n"
#: It runs nowhere else than where systemd has been booted.
_AS_IF_BOOTED = 'mount -t tmpfs none /run/systemd && mkdir /run/systemd/system && exec "$0" "$@"'
_INSTALL = "[Install]\nWantedBy=default.target\n"


@dataclass
class Manager:
    """A running systemd with a service `rs-web.service`."""

    units: Path
    runtime: Path

    def __call__(self, action: str, unit: str | None = "rs-web.service", **more: Any) -> Any:
        return answer("systemctl", self._call(action, unit, more), **self.here(True))

    def refusal(self, action: str, unit: str | None = "rs-web.service", **more: Any) -> str:
        how = self.here(more.pop("as_root", True))
        return failure("systemctl", self._call(action, unit, more), **how).error_class

    @staticmethod
    def _call(action: str, unit: str | None, more: Call) -> Call:
        return {"action": action, **({} if unit is None else {"unit": unit}), **more}

    def here(self, as_root: bool) -> dict[str, Any]:
        return {"as_root": as_root, "spaces": NEW_MOUNTS, "prepare": self._mounts()}

    def _mounts(self) -> Callable[[], None]:
        def mount() -> None:
            commands = [
                ["mount", "--make-rprivate", "/"],
                ["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run/systemd"],
                ["mkdir", "/run/systemd/system"],
                ["ln", "-s", str(self.runtime / "systemd/private"), "/run/systemd/private"],
                ["mkdir", "-p", "/run/user"],
                ["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run/user"],
                ["ln", "-s", str(self.runtime), f"/run/user/{os.getuid()}"],
            ]
            for words in commands:
                subprocess.run(words, check=True, timeout=20)

        return mount

    def enabled(self) -> bool:
        return (self.units / "default.target.wants/rs-web.service").is_symlink()


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    root_only()
    program("systemctl", "systemd")
    if not _SYSTEMD.exists():
        pytest.skip("systemd is not installed: apt install systemd")
    home = tmp_path_factory.mktemp("sd")
    manager = Manager(home / "config/systemd/user", home / "run")
    manager.units.mkdir(parents=True)
    (manager.runtime / "systemd").mkdir(parents=True)
    manager.runtime.chmod(0o700)
    (manager.units / "rs-web.service").write_text(_SERVICE + _INSTALL)
    (manager.units / "rs-bad.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/false\n")
    env = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_RUNTIME_DIR": str(manager.runtime),
    }
    words = ["unshare", "--mount", "sh", "-c", _AS_IF_BOOTED, str(_SYSTEMD), "--user"]
    words += ["--log-target=console", "--unit=basic.target"]
    socket = manager.runtime / "systemd/private"
    with server(words, socket.exists, home / "log", env):
        yield manager


def _sleeps(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).name() == "sleep"


def test_a_service_runs_and_stops(manager: Manager) -> None:
    before = manager("status")
    assert (before["load_state"], before["is_active"]) == ("loaded", False)
    manager("start")
    first = manager("status")["main_pid"]
    assert _sleeps(first)
    listed = manager("list", None, state="active")["units"]
    assert "rs-web.service" in [item["unit"] for item in listed]
    manager("reload")
    manager("reload_or_restart")
    assert manager("status")["main_pid"] == first
    manager("restart")
    second = manager("status")["main_pid"]
    assert second != first
    assert _sleeps(second)
    assert not _sleeps(first)
    manager("try_restart")
    third = manager("status")["main_pid"]
    assert third != second
    manager("stop")
    assert not _sleeps(third)
    manager("try_restart")
    assert manager("status")["is_active"] is False


def test_enable_with_now(manager: Manager) -> None:
    manager("enable")
    assert manager.enabled()
    assert manager("status")["is_active"] is False
    manager("disable")
    assert not manager.enabled()
    manager("enable", now=True)
    assert manager.enabled()
    assert _sleeps(manager("status")["main_pid"])
    manager("disable", now=True)
    assert not manager.enabled()
    assert manager("status")["is_active"] is False


def test_mask_and_runtime(manager: Manager) -> None:
    masked = manager.units / "rs-other.service"
    manager("mask", "rs-other.service")
    assert masked.readlink() == Path("/dev/null")
    assert manager.refusal("start", "rs-other.service") == "conflict"
    manager("unmask", "rs-other.service")
    assert not masked.is_symlink()
    manager("enable", runtime=True)
    assert not manager.enabled()
    assert (manager.runtime / "systemd/user/default.target.wants/rs-web.service").is_symlink()
    manager("disable", runtime=True)


def test_daemon_reload_reads_unit_files_again(manager: Manager) -> None:
    file = manager.units / "rs-new.service"
    file.write_text(f"[Unit]\nDescription=First\n{_SERVICE}")
    assert manager("status", "rs-new.service")["description"] == "First"
    manager("start", "rs-new.service")
    file.write_text(f"[Unit]\nDescription=Second\n{_SERVICE}")
    assert manager("status", "rs-new.service")["description"] == "First"
    manager("daemon_reload", None)
    assert manager("status", "rs-new.service")["description"] == "Second"
    manager("stop", "rs-new.service")


def test_a_failed_service(manager: Manager) -> None:
    assert manager.refusal("start", "rs-bad.service") == "exit_status"
    assert manager("status", "rs-bad.service")["active_state"] == "failed"
    manager("reset_failed", "rs-bad.service")
    assert manager("status", "rs-bad.service")["active_state"] == "inactive"


def test_classes_of_failures(manager: Manager) -> None:
    for action in ("start", "stop", "restart", "reload", "enable", "disable", "reset_failed"):
        assert manager.refusal(action, "no-such.service") == "not_found", action
    assert manager("status", "no-such.service")["load_state"] == "not-found"
    assert manager.refusal("mask") == "conflict"
    assert manager.refusal("reload", "default.target") == "invalid_parameters"
    assert manager.refusal("start", uid=os.getuid() + 4_000) == "connection_refused"


def test_the_services_of_a_user(manager: Manager) -> None:
    """By the socket of that user; a step of another user may not ask."""
    manager("start", uid=os.getuid())
    assert _sleeps(manager("status", uid=os.getuid())["main_pid"])
    manager("stop", uid=os.getuid())
    other = manager.refusal("start", uid=os.getuid(), as_root=False)
    assert other == "capability_missing"


def test_without_systemd(tmp_path: Path) -> None:
    root_only()
    program("systemctl", "systemd")
    how: dict[str, Any] = {"spaces": NEW_MOUNTS, "prepare": _nothing_there}
    for call in ({"action": "list"}, {"action": "start", "unit": "x.service"}):
        (outcome,) = outcomes("systemctl", call, as_root=True, **how)
        assert not isinstance(outcome, Success)
        assert outcome.error_class == "connection_refused", outcome


def _nothing_there() -> None:
    for words in (["--make-rprivate", "/"], ["-t", "tmpfs", "none", "/run"]):
        subprocess.run(["mount", *words], check=True, timeout=20)
