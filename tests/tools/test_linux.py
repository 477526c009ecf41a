"""Programs of Linux that act on processes, accounts, schedules and rules, through the system.

What changes the network runs in a network namespace of the test's own, by the executor's driver;
what changes accounts makes an account of its own and removes it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processors.executors.context import Failure, Outcome, Success
from processors.executors.resources import Resources
from tests.driver_kit import Run, settings
from tests.tools.conftest import Execute, Result
from tests.tools.fakes.program import FakePrograms
from tests.tools.running import program, root, server
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

_CLONE_NEWNET = 0x40000000


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
    output = succeeded(execute("killall", {"name": name, "signal": "INT"}))
    assert output["processes"] == [{"pid": sleeper.pid, "name": name}]
    assert sleeper.wait(10) == -2
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
    output = succeeded(execute("nice", {"program": "nice", "adjustment": 4}))
    assert int(output["text"]) == min(here + 4, 19)
    words = ["--; id", "$(id)"]
    printed = succeeded(execute("nice", {"program": "printf", "arguments": ["%s|", *words]}))
    assert printed["text"] == "--; id|$(id)|"
    assert execute("nice", {"program": "no-such-program"}).error_class == "program_missing"
    for shell in ("sh", "/bin/bash", "env", "sudo"):
        with pytest.raises(AssertionError, match=r"parameters\.program|must match"):
            execute("nice", {"program": shell, "arguments": ["-c", "id"]})


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
    for shell in ("bash", "/usr/bin/env", "vim", "python3"):
        with pytest.raises(AssertionError, match=r"parameters\.program|must match"):
            execute("sudo", {"program": shell})


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


# Network and filter rules


def in_own_network(tool: str, *calls: dict[str, Any]) -> list[Outcome]:
    """Each call by the executor's driver, in one thread with a network namespace of its own."""
    definition = load().get(tool)
    assert definition is not None
    outcomes: list[Outcome | BaseException] = []

    async def run() -> None:
        opened = Resources(settings())
        try:
            for parameters in calls:
                invocation = bind(definition, parameters)
                assert isinstance(invocation, Invocation), invocation
                outcomes.append(await Run(opened, invocation).outcome())
        finally:
            await opened.close()

    def inside() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
            outcomes.append(OSError(ctypes.get_errno(), "unshare"))
            return
        asyncio.run(run())

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if outcomes and isinstance(outcomes[0], OSError):
        pytest.skip("no network namespace may be made here")
    return [item for item in outcomes if not isinstance(item, BaseException)]


def test_ifconfig(execute: Execute) -> None:
    program("ifconfig", "net-tools")
    output = succeeded(execute("ifconfig", {"interface": "lo"}))
    assert [item["name"] for item in output["interfaces"]] == ["lo"]
    assert output["interfaces"][0]["ipv4_addr"] == "127.0.0.1"
    assert execute("ifconfig", {"interface": "nothing0"}).error_class == "not_found"


def test_ifconfig_changes_an_interface() -> None:
    program("ifconfig", "net-tools")
    root()
    address = {"operation": "set_address", "interface": "lo", "address": "127.0.0.7"}
    outcomes = in_own_network(
        "ifconfig",
        {"interface": "lo"},
        {"operation": "up", "interface": "lo"},
        address,
        {"operation": "set_mtu", "interface": "lo", "mtu": 1400},
        {"interface": "lo"},
    )
    assert all(isinstance(item, Success) for item in outcomes), outcomes
    before, after = (outcomes[index].output["interfaces"][0] for index in (0, -1))  # type: ignore[index]
    assert before["ipv4_addr"] != "127.0.0.7"
    assert (after["ipv4_addr"], after["ipv4_mask"]) == ("127.0.0.7", "255.255.255.0")
    assert after["mtu"] == 1400


def test_iptables_lists(execute: Execute) -> None:
    program("iptables", "iptables")
    root()
    output = succeeded(execute("iptables", {}))
    assert {"INPUT", "FORWARD", "OUTPUT"} <= {item["chain"] for item in output["chains"]}
    nowhere = execute("iptables", {"chain": "NO-SUCH-CHAIN"})
    assert nowhere.error_class == "not_found"


def test_iptables_changes_one_rule() -> None:
    program("iptables", "iptables")
    root()
    rule = {
        "chain": "INPUT",
        "protocol": "tcp",
        "source": "192.0.2.0/24",
        "destination_port": 22,
        "states": ["NEW"],
        "comment": "a; $(id) `b`",
        "jump": "DROP",
    }
    outcomes = in_own_network(
        "iptables",
        {**rule, "operation": "check"},
        {**rule, "operation": "append"},
        {"operation": "insert", "chain": "INPUT", "in_interface": "lo", "jump": "ACCEPT"},
        {**rule, "operation": "check"},
        {"chain": "INPUT"},
        {**rule, "operation": "delete"},
        {},
    )
    assert isinstance(outcomes[0], Failure)
    assert outcomes[0].error_class == "not_found"
    assert all(isinstance(item, Success) for item in outcomes[1:]), outcomes
    listed, left = (outcomes[index].output for index in (4, 6))
    assert listed is not None
    assert left is not None
    assert [(item["number"], item["target"]) for item in listed["rules"]] == [
        (1, "ACCEPT"),
        (2, "DROP"),
    ]
    assert listed["rules"][1]["source"] == "192.0.2.0/24"
    assert "/* a; $(id) `b` */" in listed["rules"][1]["options"]
    assert [item["target"] for item in left["rules"]] == ["ACCEPT"]


def test_fail2ban(execute: Execute, tmp_path: Path) -> None:
    program("fail2ban-client", "fail2ban")
    daemon = program("fail2ban-server", "fail2ban")
    config, log, socket = tmp_path / "config", tmp_path / "auth.log", tmp_path / "socket"
    for folder in ("filter.d", "action.d"):
        (config / folder).mkdir(parents=True)
    log.write_text("")
    (config / "fail2ban.conf").write_text(
        "[Definition]\nloglevel = INFO\nlogtarget = STDOUT\nsyslogsocket = auto\n"
        f"socket = {socket}\npidfile = {tmp_path / 'pid'}\ndbfile = None\n"
        "dbpurgeage = 1d\ndbmaxmatches = 10\n[Thread]\nstacksize = 0\n"
    )
    (config / "jail.conf").write_text(
        "[DEFAULT]\nbackend = polling\nmaxretry = 3\nfindtime = 600\nbantime = 600\n"
        "usedns = no\nlogencoding = utf-8\nenabled = false\n"
        f"[door]\nenabled = true\nfilter = door\nlogpath = {log}\n"
    )
    (config / "filter.d/door.conf").write_text("[Definition]\nfailregex = ^knock from <HOST>$\n")
    where = {"socket": str(socket), "config_dir": str(config)}
    away = execute("fail2ban_client", where)
    assert away.error_class == "connection_refused"
    argv = [daemon, "-c", str(config), "-s", str(socket), "-p", str(tmp_path / "pid"), "-xf"]
    with server([*argv, "start"], socket.exists, tmp_path / "out"):
        assert (
            "pong" in succeeded(execute("fail2ban_client", {**where, "operation": "ping"}))["text"]
        )
        status = succeeded(execute("fail2ban_client", where))
        assert (status["count"], status["jails"]) == (1, ["door"])
        door = {**where, "jail": "door"}
        banned = {**door, "operation": "ban", "address": "192.0.2.7"}
        succeeded(execute("fail2ban_client", banned))
        seen = succeeded(execute("fail2ban_client", {**door, "operation": "jail"}))
        assert (seen["banned"], seen["currently_banned"]) == (["192.0.2.7"], 1)
        succeeded(execute("fail2ban_client", {**banned, "operation": "unban"}))
        seen = succeeded(execute("fail2ban_client", {**door, "operation": "jail"}))
        assert (seen["banned"], seen["total_banned"]) == ([], 1)
        gone = execute("fail2ban_client", {**where, "operation": "jail", "jail": "window"})
        assert gone.error_class == "not_found"
        checked = execute("fail2ban_client", {**where, "operation": "check_config"})
        succeeded(checked)


def test_netstat(execute: Execute) -> None:
    program("netstat", "net-tools")
    import socket

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        port = door.getsockname()[1]
        output = succeeded(execute("netstat", {"listening": True, "protocol": "tcp"}))
    found = [item for item in output["sockets"] if item["local_port"] == port]
    assert [(item["local_address"], item["state"]) for item in found] == [("127.0.0.1", "LISTEN")]
    assert found[0]["pid"] == os.getpid()
