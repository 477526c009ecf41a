"""Programs of Linux that act on text, processes and the system, run through the whole system."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.conftest import Execute, Result
from tests.tools.running import program, root


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


# Text


def test_awk(execute: Execute, tmp_path: Path) -> None:
    program("gawk", "gawk")
    path = tmp_path / "report"
    path.write_text("web-01 12 95\nweb-02 3 20\n")
    named = {"program": "$3 > limit { print $1 }", "path": str(path), "variables": {"limit": "90"}}
    assert succeeded(execute("awk", named))["lines"] == ["web-01"]
    text = {"program": "{ n += $2 } END { print n }", "text": "a:1\nb:2\n", "field_separator": ":"}
    assert succeeded(execute("awk", text))["lines"] == ["3"]
    assert execute("awk", {"program": "{", "text": ""}).error_class == "invalid_parameters"
    gone = {"program": "1", "path": str(tmp_path / "gone")}
    assert execute("awk", gone).error_class == "not_found"


@pytest.mark.parametrize(
    "source",
    ['BEGIN { system("touch {}") }', 'BEGIN { print "x" > "{}" }', '{ "touch {}" | getline }'],
)
def test_awk_stays_in_its_sandbox(execute: Execute, tmp_path: Path, source: str) -> None:
    program("gawk", "gawk")
    canary = tmp_path / "canary"
    result = execute("awk", {"program": source.replace("{}", str(canary)), "text": "x\n"})
    assert result.error_class == "invalid_parameters", result
    assert not canary.exists()


def test_sed(execute: Execute, tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text("Port 22\nUser app\n")
    script = "s/^Port ([0-9]+)$/Port 2\\1/"
    shown = succeeded(execute("sed", {"script": script, "path": str(path)}))
    assert shown["lines"] == ["Port 222", "User app"]
    assert path.read_text() == "Port 22\nUser app\n"
    succeeded(execute("sed", {"script": script, "path": str(path), "in_place": True}))
    assert path.read_text() == "Port 222\nUser app\n"
    assert path.with_suffix(".bak").read_text() == "Port 22\nUser app\n"
    quiet = {"script": "/b/p", "text": "a\nb\n", "quiet": True}
    assert succeeded(execute("sed", quiet))["lines"] == ["b"]


@pytest.mark.parametrize("script", ["1e touch {}", "w {}", "s/a/touch {}/e"])
def test_sed_stays_in_its_sandbox(execute: Execute, tmp_path: Path, script: str) -> None:
    canary = tmp_path / "canary"
    result = execute("sed", {"script": script.format(canary), "text": "a\n"})
    assert result.error_class == "invalid_parameters", result
    assert not canary.exists()


def test_uniq(execute: Execute, tmp_path: Path) -> None:
    output = succeeded(execute("uniq", {"text": "a\na\nB\nb\n c\n", "ignore_case": True}))
    assert output["groups"] == [
        {"text": "a", "times": 2},
        {"text": "B", "times": 2},
        {"text": " c", "times": 1},
    ]
    path = tmp_path / "sorted"
    path.write_text("x\nx\ny\n")
    once = succeeded(execute("uniq", {"path": str(path), "only": "unique"}))
    assert once["groups"] == [{"text": "y", "times": 1}]
    gone = execute("uniq", {"path": str(tmp_path / "gone")})
    assert gone.error_class == "not_found"


def test_cut(execute: Execute) -> None:
    """It counts bytes, and says so; the older name of the parameter means the same."""
    for name in ("bytes", "characters"):
        output = succeeded(execute("cut", {"text": "h\u00e9llo\n", name: "1-3,5"}))
        assert output["lines"] == ["h\u00e9l"]
        half = succeeded(execute("cut", {"text": "h\u00e9llo\n", name: "2"}))
        assert half["lines"] == ["\ufffd"]
    program("gawk", "gawk")
    whole = {"program": "{ print substr($0, 2, 2) }", "text": "h\u00e9llo\n"}
    assert succeeded(execute("awk", whole))["lines"] == ["\u00e9l"]


# Processes


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose name nobody else has."""
    path = tmp_path / f"rs{uuid.uuid4().hex[:10]}"
    shutil.copy(program("sleep", "coreutils"), path)
    process = subprocess.Popen([str(path), "300"])
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def name_of(process: subprocess.Popen[bytes]) -> str:
    assert isinstance(process.args, list)
    return Path(str(process.args[0])).name


def test_pgrep(execute: Execute, sleeper: subprocess.Popen[bytes]) -> None:
    name = name_of(sleeper)
    output = succeeded(execute("pgrep", {"pattern": name, "exact": True}))
    assert output["pids"] == [sleeper.pid]
    assert output["processes"][0]["command"].endswith(f"{name} 300")
    none = succeeded(execute("pgrep", {"pattern": f"{name}x"}))
    assert none == {"exit_code": 1, "processes": [], "count": 0, "pids": [], "found": False}


def test_pkill(execute: Execute, sleeper: subprocess.Popen[bytes]) -> None:
    name = name_of(sleeper)
    assert execute("pkill", {"pattern": name[:-1]}).error_class == "not_found"
    output = succeeded(execute("pkill", {"pattern": name, "signal": "TERM"}))
    assert output["processes"] == [{"pid": sleeper.pid, "name": name}]
    assert sleeper.wait(10) == -15


def test_killall(execute: Execute, sleeper: subprocess.Popen[bytes]) -> None:
    program("killall", "psmisc")
    name = name_of(sleeper)
    # USR1, since a session in the background ignores INT, and its children with it.
    output = succeeded(execute("killall", {"name": name, "signal": "USR1"}))
    assert output["processes"] == [{"pid": sleeper.pid, "name": name}]
    assert sleeper.wait(10) == -signal.SIGUSR1
    assert execute("killall", {"name": name}).error_class == "not_found"


def test_renice(execute: Execute, sleeper: subprocess.Popen[bytes]) -> None:
    before = os.getpriority(os.PRIO_PROCESS, sleeper.pid)
    output = succeeded(execute("renice", {"pid": sleeper.pid, "niceness": 7}))
    assert output["processes"] == [{"pid": sleeper.pid, "niceness_before": before, "niceness": 7}]
    assert os.getpriority(os.PRIO_PROCESS, sleeper.pid) == 7
    if os.geteuid() == 0:
        succeeded(execute("renice", {"pid": sleeper.pid, "boost": 3}))
        assert os.getpriority(os.PRIO_PROCESS, sleeper.pid) == -3
    assert execute("renice", {"pid": 4194303, "niceness": 1}).error_class == "not_found"


def test_nice(execute: Execute) -> None:
    here = os.getpriority(os.PRIO_PROCESS, 0)
    field = ["-d ", "-f19", "/proc/self/stat"]
    output = succeeded(execute("nice", {"program": "cut", "arguments": field, "adjustment": 4}))
    assert int(output["text"]) == min(here + 4, 19)
    words = ["--; id", "$(id)"]
    printed = succeeded(execute("nice", {"program": "printf", "arguments": ["%s|", *words]}))
    assert printed["text"] == "--; id|$(id)|"
    assert execute("nice", {"program": "no-such-program"}).error_class == "program_missing"
    for shell in ("sh", "/bin/bash", "env", "sudo", "timeout", "/usr/bin/cut"):
        refused = execute("nice", {"program": shell, "arguments": ["-c", "id"]})
        assert refused.error_class == "capability_missing"
        assert "RUNSTREAM_STARTABLE_PROGRAMS" in refused.error["message"]


def test_top(execute: Execute, sleeper: subprocess.Popen[bytes]) -> None:
    output = succeeded(execute("top", {}))
    assert output["count"] == len(output["processes"]) > 0
    assert output["load_1m"] >= 0
    assert output["memory_total_mib"] > 0
    assert 0 <= output["cpu_idle_percent"] <= 100
    shares = [item["cpu_percent"] for item in output["processes"]]
    assert shares == sorted(shares, reverse=True)
    one = succeeded(
        execute(
            "top", {"pid": sleeper.pid, "iterations": 2, "delay_seconds": 0.1, "sort_by": "pid"}
        )
    )
    assert [item["pid"] for item in one["processes"]] == [sleeper.pid]
    assert one["processes"][0]["command"] == name_of(sleeper)


# The system


def test_lsb_release(execute: Execute) -> None:
    program("lsb_release", "lsb-release")
    output = succeeded(execute("lsb_release", {}))
    assert output["distributor_id"]
    assert output["description"].startswith(output["distributor_id"])


def test_ssh_keygen(execute: Execute, tmp_path: Path) -> None:
    program("ssh-keygen", "openssh-client")
    path = tmp_path / "deploy"
    where = {"path": str(path)}
    made = succeeded(
        execute("ssh_keygen", {**where, "operation": "generate", "comment": "deploy@ci"})
    )
    assert path.stat().st_mode & 0o777 == 0o600
    shown = succeeded(execute("ssh_keygen", where))
    assert shown["fingerprint"] == made["fingerprint"]
    assert (shown["bits"], shown["type"], shown["comment"]) == (256, "ED25519", "deploy@ci")
    public = succeeded(execute("ssh_keygen", {**where, "operation": "public_key"}))["public_key"]
    assert public == path.with_suffix(".pub").read_text().strip()
    before = path.read_bytes()
    again = execute("ssh_keygen", {**where, "operation": "generate"})
    assert again.error_class == "conflict"
    assert path.read_bytes() == before

    known = tmp_path / "known_hosts"
    known.write_text(f"[web-01]:2222 {public.rpartition(' ')[0]}\n")
    host = {"path": str(known), "name": "[web-01]:2222"}
    found = succeeded(execute("ssh_keygen", {**host, "operation": "find_host"}))
    assert found["found"] is True
    assert len(found["entries"]) == 1
    succeeded(execute("ssh_keygen", {**host, "operation": "remove_host"}))
    assert known.read_text() == ""
    assert execute("ssh_keygen", {**host, "operation": "find_host"}).error_class == "not_found"


def test_sudo(execute: Execute) -> None:
    program("sudo", "sudo")
    root()
    named = {"program": "id", "arguments": ["-un"], "user": "nobody"}
    assert succeeded(execute("sudo", named))["text"] == "nobody\n"
    assert "may run the following" in succeeded(execute("sudo", {"operation": "list"}))["text"]
    assert execute("sudo", {"program": "no-such-program"}).error_class == "program_missing"
    assert execute("sudo", {**named, "user": "no_such_user"}).error_class == "invalid_parameters"
    for shell in ("bash", "rbash", "timeout", "/usr/bin/id", "python3"):
        assert execute("sudo", {"program": shell}).error_class == "capability_missing"


def test_service(execute: Execute, tmp_path: Path) -> None:
    program("service", "init-system-helpers")
    root()
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs here, and service would ask it in place of the init script")
    name = f"rs-test-{uuid.uuid4().hex[:8]}"
    script, mark = Path("/etc/init.d") / name, tmp_path / "mark"
    script.write_text(
        "#!/bin/sh\n"
        f'case "$1" in start) touch {mark};; stop) rm -f {mark};;\n'
        f"status) test -e {mark} && echo is running || exit 3;; *) exit 1;; esac\n"
    )
    script.chmod(0o755)
    try:
        stopped = execute("service", {"name": name})
        assert (stopped.error_class, stopped.output["exit_code"]) == ("exit_status", 3)
        succeeded(execute("service", {"name": name, "operation": "start"}))
        assert mark.exists()
        assert "is running" in succeeded(execute("service", {"name": name}))["text"]
        listed = succeeded(execute("service", {"operation": "list"}))
        assert {"name": name, "running": True} in listed["services"]
        succeeded(execute("service", {"name": name, "operation": "stop"}))
        assert not mark.exists()
    finally:
        script.unlink()
    assert execute("service", {"name": name}).error_class == "not_found"
