"""Interfaces, filter rules and bans, through the system.

What changes the network runs in a network namespace of the test's own, by the executor's driver.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from drivers.context import Failure, Outcome, Success
from tests.tools.conftest import Execute, Result
from tests.tools.driven import NEW_NETWORK, Call, Doing, outcomes
from tests.tools.running import program, root, server


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


# Network and filter rules


def in_own_network(tool: str, *calls: Call | Doing) -> list[Outcome]:
    """Each call by the executor's driver, with a network namespace of its own."""
    return outcomes(tool, *calls, as_root=True, spaces=NEW_NETWORK)


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
