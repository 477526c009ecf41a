"""Schedules and accounts, through the system; an account of the test's own is removed again."""

from __future__ import annotations

import ctypes
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.conftest import Execute, Result
from tests.tools.fakes.program import FakePrograms
from tests.tools.running import program, root


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


# Schedules


def test_at(execute: Execute) -> None:
    program("at", "at")
    script = "echo '$(id)' # queued by a test"
    queued = execute("at", {"operation": "schedule", "time": "01:01 2099-01-01", "script": script})
    output = succeeded(queued)
    job = output["job"]
    try:
        assert output["at"] == "2099-01-01T01:01:00+00:00"
        listed = succeeded(execute("at", {}))
        assert [item["at"] for item in listed["jobs"] if item["job"] == job] == [output["at"]]
        shown = succeeded(execute("at", {"operation": "show", "job": job}))
        assert script in shown["text"]
    finally:
        removed = execute("at", {"operation": "remove", "job": job})
    succeeded(removed)
    assert job not in [item["job"] for item in succeeded(execute("at", {}))["jobs"]]
    assert execute("at", {"operation": "show", "job": job}).error_class == "not_found"
    garbled = execute("at", {"operation": "schedule", "time": "whenever", "script": "true"})
    assert garbled.error_class == "invalid_parameters"


@pytest.fixture
def account() -> Iterator[str]:
    """An account of the test's own, removed with its home."""
    root()
    name = f"rs{uuid.uuid4().hex[:10]}"
    subprocess.run(
        ["useradd", "--no-create-home", "--system", "--shell=/usr/sbin/nologin", name],
        check=True,
        timeout=30,
    )
    try:
        yield name
    finally:
        subprocess.run(["userdel", "--force", name], check=True, capture_output=True, timeout=30)


def test_crontab(execute: Execute, account: str) -> None:
    program("crontab", "cron")
    mine = {"user": account}
    assert execute("crontab", mine).error_class == "not_found"
    content = 'MAILTO=""\n# nightly\n15 3 * * 1-5 /usr/local/sbin/backup --all\n@daily true'
    succeeded(execute("crontab", {**mine, "operation": "install", "content": content}))
    output = succeeded(execute("crontab", mine))
    assert output["jobs"] == [
        {"schedule": "15 3 * * 1-5", "command": "/usr/local/sbin/backup --all"},
        {"schedule": "@daily", "command": "true"},
    ]
    assert output["variables"] == {"MAILTO": ""}
    wrong = execute("crontab", {**mine, "operation": "install", "content": "99 * * * * true"})
    assert wrong.error_class == "invalid_parameters"
    succeeded(execute("crontab", {**mine, "operation": "remove"}))
    assert execute("crontab", mine).error_class == "not_found"


TIMER = "[Unit]\nDescription=Test\n[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"


def test_systemd_timer(execute: Execute, tmp_path: Path) -> None:
    """On a system tree of its own, which needs no running systemd."""
    program("systemctl", "systemd")
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "rotate.timer").write_text(TIMER)
    (units / "rotate.service").write_text("[Service]\nExecStart=/bin/true\n")
    where = {"root": str(tmp_path), "timer": "rotate.timer"}
    succeeded(execute("systemd_timer", {**where, "operation": "enable"}))
    assert (units / "timers.target.wants/rotate.timer").is_symlink()
    listed = succeeded(execute("systemd_timer", {"root": str(tmp_path), "operation": "list_files"}))
    assert [(item["timer"], item["state"]) for item in listed["timers"]] == [
        ("rotate.timer", "enabled")
    ]
    succeeded(execute("systemd_timer", {**where, "operation": "disable"}))
    assert not (units / "timers.target.wants/rotate.timer").is_symlink()
    if not Path("/run/systemd/system").exists():
        assert execute("systemd_timer", {}).error_class == "connection_refused"


def test_systemd_timer_list_recorded(execute: Execute, fake_program: FakePrograms) -> None:
    """A running systemd cannot be had everywhere: the list as systemd 252 writes it."""
    fake = fake_program(
        "systemctl",
        stdout='[{"next":1795219200000000,"left":1795219200000000,"last":null,"passed":null,'
        '"unit":"logrotate.timer","activates":"logrotate.service"}]',
    )
    output = succeeded(execute("systemd_timer", {}))
    assert output["timers"] == [
        {
            "timer": "logrotate.timer",
            "activates": "logrotate.service",
            "next_at": "2026-11-21T00:00:00+00:00",
            "last_at": None,
        }
    ]
    assert fake.argv == ["systemctl", "--no-pager", "list-timers", "--all", "--output=json"]


# Accounts


def test_useradd_and_usermod(execute: Execute, tmp_path: Path) -> None:
    """In files of a directory of its own: no account of this machine changes."""
    root()
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (etc / "shadow").write_text("root:*:20000:0:99999:7:::\n")
    (etc / "group").write_text("root:x:0:\nadm:x:4:\ndocker:x:99:\n")
    (etc / "gshadow").write_text("root:*::\nadm:*::\ndocker:!::\n")
    where = {"prefix": str(tmp_path), "name": "app"}
    new = {**where, "groups": ["adm"], "home": "/srv/app", "create_home": False}
    new |= {"shell": "/usr/sbin/nologin", "comment": "$(id); Deployment", "uid": 4711}
    succeeded(execute("useradd", new))
    line = (etc / "passwd").read_text().splitlines()[-1]
    assert line.startswith("app:x:4711:")
    assert line.endswith(":$(id); Deployment:/srv/app:/usr/sbin/nologin")
    assert execute("useradd", new).error_class == "conflict"

    succeeded(execute("usermod", {**where, "groups": ["docker"], "shell": "/bin/sh"}))
    groups = (etc / "group").read_text()
    assert "adm:x:4:app\n" in groups
    assert "docker:x:99:app\n" in groups
    assert (etc / "passwd").read_text().splitlines()[-1].endswith(":/bin/sh")
    succeeded(execute("usermod", {**where, "groups": ["docker"], "replace_groups": True}))
    assert "adm:x:4:\n" in (etc / "group").read_text()
    gone = execute("usermod", {**where, "name": "gone", "shell": "/bin/sh"})
    assert gone.error_class == "not_found"


def test_passwd(execute: Execute, account: str) -> None:
    secret = "correct horse $(id) battery"
    succeeded(execute("passwd", {"user": account, "password": secret}))
    line = next(
        line
        for line in Path("/etc/shadow").read_text().splitlines()
        if line.startswith(f"{account}:")
    )
    hashed = line.split(":")[1]
    assert _crypt(secret, hashed) == hashed
    known = _crypt("another", "$6$saltsalt$")
    succeeded(execute("passwd", {"user": account, "password": known, "encrypted": True}))
    assert f"{account}:{known}:" in Path("/etc/shadow").read_text()
    nobody = {"user": "no-such-user", "password": known, "encrypted": True}
    assert execute("passwd", nobody).error_class == "not_found"


def _crypt(word: str, salt: str) -> str:
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    answer: bytes = library.crypt(word.encode(), salt.encode())
    return answer.decode()
