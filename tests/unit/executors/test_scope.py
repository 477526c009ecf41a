"""The network scope: what may be scanned, decided without a network."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.reach import Reach
from drivers.scans import argv as scan_argv
from drivers.scans.scope import (
    EVERY_PORT,
    BadTarget,
    OutOfScope,
    check_targets,
    parse_ports,
    parse_scope,
)

SCOPE = parse_scope("10.1.0.0/16, 192.0.2.0/24")
NAMES = {
    "in.example": ["10.1.2.3", "2001:db8::1"],
    "out.example": ["203.0.113.9"],
    "both.example": ["10.1.2.3", "203.0.113.9"],
    "six.example": ["2001:db8::1"],
    "mapped.example": ["::ffff:203.0.113.9"],
}


def _resolve(name: str) -> Sequence[str]:
    return NAMES[name]


def _checked(*targets: str) -> list[str]:
    return check_targets(targets, SCOPE, _resolve)


def test_addresses_networks_and_names_become_addresses() -> None:
    assert _checked("10.1.2.3", "192.0.2.9/30", "in.example") == ["10.1.2.3", "192.0.2.8/30"]


@pytest.mark.parametrize(
    "target",
    ["10.2.0.1", "10.0.0.0/8", "0.0.0.0/0", "10.1.0.0/16", "::1", "::ffff:10.1.2.3",
     "64:ff9b::a01:203",
     "out.example", "both.example", "six.example", "mapped.example"],
)  # fmt: skip
def test_outside(target: str) -> None:
    with pytest.raises(OutOfScope):
        _checked(target)


@pytest.mark.parametrize(
    "target",
    ["10.1.2.3-9", "10.1.2.*", "10.1.2", "10.1.2.3,4", "010.1.2.3", "10.1.2.3/33", "0x0a.1", "1.2",
     "167837955", "-iL", "--script=x", "a b", "10.1.2.3 --script=x", "", "\u0661\u0660.1.2.3",
     "10.1.2.3\n10.9.9.9", "@targets", "fe80::1%eth0", "2001:db8::/200",
     "2001:db8::1-9", ":", "a:b"],
)  # fmt: skip
def test_no_target(target: str) -> None:
    with pytest.raises(BadTarget):
        _checked(target)


def test_empty_scope_denies_all() -> None:
    with pytest.raises(OutOfScope, match="RUNSTREAM_NETWORK_SCOPE"):
        check_targets(["127.0.0.1"], (), _resolve)


def test_addresses_are_counted_together() -> None:
    assert len(_checked(*(f"10.1.{n}.0/24" for n in range(16)))) == 16
    with pytest.raises(OutOfScope, match="4352"):
        _checked(*(f"10.1.{n}.0/24" for n in range(17)))
    assert _checked("10.1.0.0/24", "10.1.0.0/24") == ["10.1.0.0/24"]


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.7/24",
        "everything",
        "::1/64",
        "10.0.0.0/33",
        "[2001:db8::/64]22",
        "[2001:db8::/64",
        "2001:db8::/64:22:x",
    ],
)
def test_a_wrong_scope_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_scope(text)


@given(st.text(max_size=40))
def test_any_text_is_inside_or_refused(text: str) -> None:
    try:
        found = check_targets([text], SCOPE, lambda _: ["10.1.0.1"])
    except (BadTarget, OutOfScope):
        return
    assert all(part[0].isdigit() for part in found)


def test_argument_lists_hold_addresses_behind_a_double_dash() -> None:
    values = {"technique": "syn", "ports": "22", "detect_services": True, "host_timeout": 1.5}
    assert scan_argv.nmap(values, ["10.1.0.1"]) == [
        "nmap", "-n", "--no-stylesheet", "--privileged", "-oX", "-", "--stats-every=5s", "-sS",
        "-T3", "-p", "22", "-sV", "--host-timeout=1500ms", "--", "10.1.0.1",
    ]  # fmt: skip
    assert "--unprivileged" in scan_argv.nmap({}, ["10.1.0.1"])
    assert scan_argv.masscan(
        {"rate": 100, "wait": 3, "ports": "80", "interface": "eth0", "gateway": "10.1.0.9"},
        ["10.1.0.0/24"],
    ) == [
        "masscan", "-oL", "-", "--rate=100", "--wait=3", "--ports=80", "--interface=eth0",
        "--router-ip=10.1.0.9", "10.1.0.0/24",
    ]  # fmt: skip
    assert scan_argv.arp_scan({"interface": "eth0", "attempts": 2, "wait_ms": 500}, ["10.1.0.1"])[
        -2:
    ] == ["--", "10.1.0.1"]
    assert scan_argv.netdiscover({"interface": "eth0"}, [])[-1] == "-p"


PORTS = parse_scope("10.1.0.0/16:22+80+8000-8100,10.1.9.0/24")


@pytest.mark.parametrize(
    ("target", "ports", "allowed"),
    [("10.1.2.3", "22", True), ("10.1.2.3", "22,8000-8100", True), ("10.1.2.3", "23", False),
     ("10.1.2.3", "8000-8101", False), ("10.1.2.3", "22,443", False),
     ("10.1.9.3", "1-65535", True)],
)  # fmt: skip
def test_an_entry_of_the_scope_may_name_ports(target: str, ports: str, allowed: bool) -> None:
    if allowed:
        assert check_targets([target], PORTS, _resolve, parse_ports(ports)) == [target]
    else:
        with pytest.raises(OutOfScope, match="name `ports`"):
            check_targets([target], PORTS, _resolve, parse_ports(ports))


@pytest.mark.parametrize(
    "text",
    [
        "10.1.0.0/16:",
        "10.1.0.0/16:0x16",
        "10.1.0.0/16:90-80",
        "10.1.0.0/16:65536",
        "10.1.0.0/16:22/80",
        "10.1.0.0/16:²²",
    ],
)
def test_wrong_ports_of_the_scope_are_said(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        parse_scope(text)


def test_a_scan_that_names_no_ports_asks_every_port() -> None:
    with pytest.raises(OutOfScope, match="name `ports`"):
        check_targets(["10.1.2.3"], PORTS, _resolve, EVERY_PORT)
    assert check_targets(["10.1.2.3"], PORTS, _resolve) == ["10.1.2.3"]


@pytest.mark.parametrize(
    ("address", "port", "allowed"),
    [("10.1.2.3", 22, True), ("10.1.2.3", None, True), ("10.1.2.3", 23, False),
     ("10.2.0.1", 22, False), ("::ffff:10.1.2.3", 22, True), ("169.254.169.254", 80, False),
     ("1.1.1.1", 443, True)],
)  # fmt: skip
def test_what_a_program_may_be_sent_to(address: str, port: int | None, allowed: bool) -> None:
    reach = Reach(allow_private=False, scope=PORTS)
    assert (
        reach.refusal(ip_address(address), () if port is None else ((port, port),)) is None
    ) is allowed


@pytest.mark.parametrize(
    ("address", "ports", "inside"),
    [("10.1.2.3", "", True), ("10.1.2.3", "22", True), ("10.1.2.3", "53", False),
     ("10.1.2.3", "33434-34073", False), ("10.1.9.3", "33434-34073", True),
     ("1.1.1.1", "53", False), ("127.0.0.1", "", False), ("2606:4700::1111", "", False),
     ("::ffff:10.1.2.3", "22", True), ("::ffff:1.1.1.1", "", False)],
)  # fmt: skip
def test_what_a_probe_may_ask(address: str, ports: str, inside: bool) -> None:
    asked = parse_ports(ports) if ports else ()
    for private in (False, True):
        reason = Reach(allow_private=private, scope=PORTS).beyond(ip_address(address), asked)
        assert (reason is None) is inside
        assert inside or "RUNSTREAM_NETWORK_SCOPE" in str(reason)
    assert Reach(allow_private=False).beyond(ip_address(address), asked) is None


SIX = parse_scope("10.1.0.0/16, 2001:db8::/64, [2001:db8:1::/48]:22+80, [2001:db8:2::7]:443")


@pytest.mark.parametrize(
    ("target", "ports", "given"),
    [("2001:DB8:0::9", "1", "2001:db8::9"), ("2001:db8::/118", "", "2001:db8::/118"),
     ("2001:db8:1::1", "22,80", "2001:db8:1::1"), ("2001:db8:2::7", "443", "2001:db8:2::7"),
     ("in.example", "", "10.1.2.3"), ("six.example", "", "2001:db8::1")],
)  # fmt: skip
def test_ipv6_targets_inside_the_scope(target: str, ports: str, given: str) -> None:
    assert check_targets([target], SIX, _resolve, parse_ports(ports) if ports else ()) == [given]


@pytest.mark.parametrize(
    ("target", "ports"),
    [("2001:db9::1", ""), ("2001:db8::/32", ""), ("2001:db8::/64", ""), ("2001:db8:1::1", "443"),
     ("2001:db8:2::8", "443"), ("::ffff:10.1.2.3", ""), ("64:ff9b::a01:203", ""),
     ("2002:a01:203::1", ""), ("::/96", ""), ("::1", ""), ("mapped.example", "")],
)  # fmt: skip
def test_ipv6_targets_outside_the_scope(target: str, ports: str) -> None:
    with pytest.raises(OutOfScope):
        check_targets([target], SIX, _resolve, parse_ports(ports) if ports else ())


def test_a_scan_is_of_one_version() -> None:
    with pytest.raises(BadTarget, match="not of both"):
        check_targets(["10.1.2.3", "2001:db8::9"], SIX, _resolve)
    assert check_targets(["in.example"], SIX, _resolve, version=6) == ["2001:db8::1"]
    with pytest.raises(OutOfScope, match="IPv4"):
        check_targets(["six.example"], SIX, _resolve, version=4)
    assert scan_argv.nmap({}, ["2001:db8::9"])[-3:] == ["-T3", "--", "2001:db8::9"]
    assert "-6" in scan_argv.nmap({}, ["2001:db8::9"])
    assert "-6" not in scan_argv.nmap({}, ["10.1.2.3"])


def test_probes_reach_the_ipv6_networks_of_the_scope() -> None:
    reach = Reach(allow_private=False, scope=SIX)
    for address, port, inside in (
        ("2001:db8::9", 1, True), ("2001:db8:1::9", 22, True), ("2001:db8:1::9", 23, False),
        ("2606:4700::1111", 53, False), ("::ffff:10.1.2.3", 1, True), ("fd00:ec2::254", 80, False),
    ):  # fmt: skip
        assert (reach.beyond(ip_address(address), ((port, port),)) is None) is inside, address
    assert Reach(allow_private=True, scope=parse_scope("::/0")).refusal(
        ip_address("fd00:ec2::254"), ()
    )
