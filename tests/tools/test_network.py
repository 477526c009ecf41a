"""Scans, lookups and ways through a network of the test's own, run through the whole system."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tools.conftest import Execute
from tests.tools.netns import Lab, need, network

#: The first test also starts the whole stack.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with network(tmp_path_factory.mktemp("lab")) as made:
        yield made


def _mac(lab: Lab) -> str:
    """The MAC address of the servers, as their own kernel tells it."""
    shown = lab.inside("ip", "-o", "link", "show", "dev", f"{lab.device[:-1]}x")
    return shown.stdout.split("link/ether ")[1].split()[0]


def _knock(lab: Lab) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", (lab.server, 9999))


# Scans


def test_nmap_tells_ports_and_services(execute: Execute, lab: Lab) -> None:
    need("nmap")
    # Services that nmap knows by their first words; others cost it half a minute each.
    result = execute(
        "nmap", {"targets": [lab.server], "ports": "22,80,81", "detect_services": True}
    )
    assert result.status == "succeeded", result
    (host,) = result.output["hosts"]
    assert (host["address"], host["state"]) == (lab.server, "up")
    ports = {port["port"]: port for port in host["ports"]}
    assert {number: port["state"] for number, port in ports.items()} == {
        22: "open", 80: "open", 81: "closed",
    }  # fmt: skip
    assert ports[80]["service"] == "http"
    assert ports[22]["service"] == "ssh"
    assert "Python" in f"{ports[80]['product']} {ports[80]['extra']}"
    assert result.output["open_ports"] == 2


def test_nmap_with_raw_packets_sees_the_mac_address(execute: Execute, lab: Lab) -> None:
    need("nmap")
    result = execute("nmap", {"targets": lab.server, "technique": "syn", "ports": "443,444"})
    assert result.status == "succeeded", result
    (host,) = result.output["hosts"]
    assert host["mac_address"].lower() == _mac(lab)
    assert [port["state"] for port in host["ports"]] == ["open", "closed"]


def test_nmap_finds_the_hosts_of_a_network(execute: Execute, lab: Lab) -> None:
    need("nmap")
    small = lab.here.rpartition(".")[0] + ".0/29"
    result = execute("nmap", {"targets": [small], "technique": "ping"})
    assert result.status == "succeeded", result
    assert {host["address"] for host in result.output["hosts"]} == {lab.here, lab.server}


@pytest.mark.tried("nmap", inputs=("IPv6 peer",))
def test_nmap_scans_ipv6(execute: Execute, lab: Lab) -> None:
    need("nmap")
    for technique in ("connect", "syn"):
        given = {"targets": [lab.server6], "technique": technique, "ports": "80,81"}
        result = execute("nmap", given)
        assert result.status == "succeeded", result
        (host,) = result.output["hosts"]
        assert (host["address"], host["state"]) == (lab.server6, "up")
        assert [port["state"] for port in host["ports"]] == ["open", "closed"]
    both = execute("nmap", {"targets": [lab.server, lab.server6], "ports": "80"})
    assert both.error_class == "invalid_parameters"
    for tool, more in (("arp_scan", {"interface": lab.device}), ("masscan", {"ports": "80"})):
        other = execute(tool, {"targets": [lab.server6], **more})
        assert other.error_class == "invalid_parameters", other


def test_masscan_finds_the_open_ports(execute: Execute, lab: Lab) -> None:
    need("masscan")
    given = {
        "targets": [lab.server],
        "ports": "21-25,80,81",
        "interface": lab.device,
        "gateway": lab.server,
        "wait": 2,
    }
    # It looks at its clock when a packet comes: on a silent interface it waits half a minute.
    with lab.traffic(lambda: _knock(lab)):
        result = execute("masscan", given)
    assert result.status == "succeeded", result
    assert [port["port"] for port in result.output["ports"]] == [21, 22, 25, 80]
    assert result.output["hosts"] == [lab.server]


def test_arp_scan_finds_the_neighbour(execute: Execute, lab: Lab) -> None:
    need("arp-scan")
    small = lab.here.rpartition(".")[0] + ".0/29"
    result = execute("arp-scan", {"targets": [small], "interface": lab.device})
    assert result.status == "succeeded", result
    found = {host["address"]: host["mac_address"] for host in result.output["hosts"]}
    assert found == {lab.server: _mac(lab)}
    assert result.output["duplicate_addresses"] == []


def test_netdiscover_asks_a_network(execute: Execute, lab: Lab) -> None:
    need("netdiscover")
    whole = lab.here.rpartition(".")[0] + ".0/24"
    result = execute("netdiscover", {"interface": lab.device, "range": whole})
    assert result.status == "succeeded", result
    found = {host["address"]: host["mac_address"] for host in result.output["hosts"]}
    assert found == {lab.server: _mac(lab)}


def test_netdiscover_listens(execute: Execute, lab: Lab) -> None:
    need("netdiscover")

    def once() -> None:
        # Whoever has forgotten his neighbour asks for him.
        lab.inside("ip", "neigh", "flush", "all")
        lab.inside("ping", "-c1", "-W1", lab.here)

    with lab.traffic(once):
        result = execute("netdiscover", {"interface": lab.device, "seconds": 3})
    assert result.status == "succeeded", result
    found = {host["address"]: host["mac_address"] for host in result.output["hosts"]}
    assert found[lab.server] == _mac(lab)


# The network scope


@pytest.mark.parametrize(
    ("target", "error_class"),
    [
        ("192.0.2.1", "out_of_scope"),
        ("0.0.0.0/0", "out_of_scope"),
        ("198.16.0.0/12", "out_of_scope"),
        ("198.18.0.0/19", "out_of_scope"),
        ("2001:db9::1", "out_of_scope"),
        ("::ffff:198.18.0.1", "out_of_scope"),
        ("198.18.0.1-9", "invalid_parameters"),
        ("198.18.0.300", "invalid_parameters"),
        ("127.1", "invalid_parameters"),
        ("0x7f.1", "invalid_parameters"),
    ],
)
@pytest.mark.parametrize("tool", ["nmap", "masscan", "arp_scan"])
def test_what_lies_outside_the_scope_is_refused(
    execute: Execute, tool: str, target: str, error_class: str
) -> None:
    more: dict[str, dict[str, Any]] = {"masscan": {"ports": "80"}, "arp_scan": {"interface": "lo"}}
    result = execute(tool, {"targets": [target], **more.get(tool, {})})
    assert result.status == "failed"
    assert result.error_class == error_class, result
    if target == "192.0.2.1":
        assert "RUNSTREAM_NETWORK_SCOPE" in result.error["message"]


def test_one_target_outside_stops_all(execute: Execute) -> None:
    result = execute("nmap", {"targets": ["127.0.0.1", "192.0.2.1"], "ports": "9"})
    assert result.error_class == "out_of_scope"


def test_netdiscover_scans_nothing_outside(execute: Execute) -> None:
    for wide, error_class in (
        ("10.0.0.0/24", "out_of_scope"),
        ("198.18.0.0/28", "invalid_parameters"),
        ("198.18.0.0/16", "out_of_scope"),
    ):
        result = execute("netdiscover", {"interface": "lo", "range": wide})
        assert result.error_class == error_class, wide


# Without CAP_NET_RAW

_WITHOUT = textwrap.dedent("""
    import asyncio, sys
    from drivers.context import Failure
    from drivers.resources import Resources
    from tests.driver_kit import Run, settings
    from toolmeta import registry
    from toolmeta.bind import bind
    import json
    tool = registry.load().get(sys.argv[1])
    invocation = bind(tool, json.loads(sys.argv[2]))
    async def main():
        resources = Resources(settings(network_scope="127.0.0.0/8", capture_dir=sys.argv[3]))
        outcome = await Run(resources, invocation).outcome()
        await resources.close()
        return outcome
    outcome = asyncio.run(main())
    print(outcome.error_class if isinstance(outcome, Failure) else "succeeded")
    print(getattr(outcome, "message", ""))
""")


@pytest.mark.parametrize(
    ("tool", "parameters", "expected"),
    [
        (
            "nmap",
            '{"targets": "127.0.0.1", "technique": "syn", "ports": "9"}',
            "capability_missing",
        ),
        ("nmap", '{"targets": "127.0.0.1", "ports": "9"}', "succeeded"),
        ("masscan", '{"targets": "127.0.0.1", "ports": "9"}', "capability_missing"),
        ("arp_scan", '{"targets": "127.0.0.1", "interface": "lo"}', "capability_missing"),
        ("netdiscover", '{"interface": "lo"}', "capability_missing"),
        ("tcpdump", '{"interface": "lo"}', "capability_missing"),
        ("ngrep", '{"interface": "lo", "pattern": "x"}', "capability_missing"),
        ("dns_analyzer", '{"interface": "lo"}', "capability_missing"),
    ],
)
@pytest.mark.tried(
    *("nmap", "masscan", "arp_scan", "netdiscover", "tcpdump", "ngrep", "dns_analyzer"),
    inputs=("unprivileged",),
)
def test_missing_capability_is_said_before_anything_runs(
    tool: str, parameters: str, expected: str, tmp_path: Any
) -> None:
    for program in ("setpriv", "nmap", "masscan", "arp-scan", "netdiscover", "tcpdump", "ngrep"):
        need(program, "util-linux" if program == "setpriv" else None)
    done = subprocess.run(
        [
            *("setpriv", "--bounding-set=-net_raw", sys.executable, "-c", _WITHOUT),
            *(tool, parameters, str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.splitlines()
    assert said and said[0] == expected, done.stderr + done.stdout
    if expected == "capability_missing":
        assert "CAP_NET_RAW" in said[1]


# Ways and names


def test_ping_counts_answers(execute: Execute, lab: Lab) -> None:
    need("ping", "iputils-ping")
    result = execute("ping", {"target": lab.far, "count": 3, "interval": 0.2})
    assert result.status == "succeeded", result
    assert result.output["packets_received"] == 3
    assert result.output["packet_loss_percent"] == 0
    assert 0 < result.output["rtt_avg_ms"] < 1_000


@pytest.mark.tried("ping", "traceroute", "dig", "host", "nslookup", inputs=("IPv6 peer",))
def test_probes_over_ipv6(execute: Execute, lab: Lab) -> None:
    need("ping", "iputils-ping")
    need("traceroute")
    need("dig", "bind9-dnsutils")
    answered = execute("ping", {"target": lab.server6, "count": 1, "ipv6": True})
    assert answered.status == "succeeded", answered
    assert answered.output["packets_received"] == 1
    way = execute("traceroute", {"target": lab.server6, "ipv6": True, "queries": 1, "max_hops": 3})
    assert (way.output["address"], way.output["reached"]) == (lab.server6, True)
    asked = {"name": "www.lab.test", "server": lab.server6, "timeout": 2}
    for tool in ("dig", "host", "nslookup"):
        found = execute(tool, {**asked, "record_type": "A"})
        assert found.status == "succeeded", found
        assert found.output["addresses"] == [lab.server], tool


def test_ping_fails_where_nobody_is(execute: Execute, lab: Lab) -> None:
    need("ping", "iputils-ping")
    nobody = lab.here.rpartition(".")[0] + ".77"
    result = execute("ping", {"target": nobody, "count": 1, "timeout": 1})
    assert (result.status, result.error_class) == ("failed", "no_answer")
    assert result.output["packet_loss_percent"] == 100


def test_traceroute_shows_the_router(execute: Execute, lab: Lab) -> None:
    need("traceroute")
    result = execute("traceroute", {"target": lab.far, "queries": 1, "wait": 2, "max_hops": 5})
    assert result.status == "succeeded", result
    assert result.output["reached"] is True
    hops = [hop["probes"][0]["address"] for hop in result.output["hops"]]
    assert hops == [lab.server, lab.far]


def test_dig_reads_records_and_failures(execute: Execute, lab: Lab) -> None:
    need("dig", "bind9-dnsutils")
    asked = {"server": lab.server, "timeout": 2}
    found = execute("dig", {"name": "www.lab.test", **asked})
    assert found.output["addresses"] == [lab.server]
    assert found.output["authoritative"] is True
    mail = execute("dig", {"name": "www.lab.test", "record_type": "MX", "tcp": True, **asked})
    assert mail.output["records"][0]["data"] == "10 mail.lab.test."
    back = execute("dig", {"address": lab.server, **asked})
    assert back.output["records"][0]["data"] == "www.lab.test."
    assert execute("dig", {"name": "no.lab.test", **asked}).output["status"] == "NXDOMAIN"
    assert execute("dig", {"name": "fail.lab.test", **asked}).output["status"] == "SERVFAIL"


def test_host_and_nslookup_read_records(execute: Execute, lab: Lab) -> None:
    need("host", "bind9-host")
    need("nslookup", "bind9-dnsutils")
    asked = {"name": "www.lab.test", "record_type": "A", "server": lab.server}
    for tool in ("host", "nslookup"):
        result = execute(tool, asked)
        assert result.status == "succeeded", result
        assert result.output["addresses"] == [lab.server], tool


def test_ss_and_netstat_see_a_listener(execute: Execute, lab: Lab) -> None:
    need("ss", "iproute2")
    need("netstat", "net-tools")
    with socket.create_server((lab.here, 0)) as server:
        port = server.getsockname()[1]
        for tool in ("ss", "netstat"):
            result = execute(tool, {"protocol": "tcp"})
            assert result.status == "succeeded", result
            found = [item for item in result.output["sockets"] if item["local_port"] == port]
            assert [item["local_address"] for item in found] == [lab.here], tool
            assert found[0]["state"] == "LISTEN"


def test_ip_shows_address_route_and_neighbour(execute: Execute, lab: Lab) -> None:
    need("ip", "iproute2")
    shown = execute("ip", {"device": lab.device})
    assert shown.output["items"][0]["addr_info"][0]["local"] == lab.here
    routes = execute("ip", {"object": "route", "device": lab.device})
    assert lab.server in {item.get("gateway") for item in routes.output["items"]}
    socket.create_connection((lab.server, 80), 5).close()
    neighbours = execute("ip", {"object": "neighbour", "device": lab.device})
    macs = {item["dst"]: item.get("lladdr") for item in neighbours.output["items"]}
    assert macs[lab.server] == _mac(lab)
