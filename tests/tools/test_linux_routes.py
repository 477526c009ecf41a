"""ip and iptables in a network of the test's own: what they say is compared with the kernel.

The kernel is asked by sockets: where a packet would leave, and whom a connection reaches.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from tests.tools.driven import NEW_NETWORK, Call, Doing, outcomes, root_only
from tests.tools.running import program

_DEVICE = "rsveth0"
_MTU, _FLAGS, _IS_UP = 0x8921, 0x8913, 1


def _veth() -> None:
    """Two joined interfaces, which are up and have no address."""
    for words in (
        ["link", "set", "lo", "up"],
        ["link", "add", _DEVICE, "type", "veth", "peer", "name", "rsveth1"],
        ["link", "set", "rsveth1", "up"],
        ["link", "set", _DEVICE, "up"],
    ):
        subprocess.run(["ip", *words], check=True, timeout=20)


def ran(tool: str, *calls: Call | Doing) -> list[Outcome]:
    root_only()
    program("ip", "iproute2")
    return outcomes(tool, *calls, as_root=True, spaces=NEW_NETWORK, prepare=_veth)


def _asked(request: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        answer = fcntl.ioctl(door, request, struct.pack("16si20x", _DEVICE.encode(), 0))
    return int(struct.unpack("16si20x", answer)[1])


def _own_address(target: str, family: socket.AddressFamily = socket.AF_INET) -> str | None:
    """The address that a packet there would have; None where there is no way."""
    with socket.socket(family, socket.SOCK_DGRAM) as door:
        try:
            door.connect((target, 9))
        except OSError:
            return None
        return str(door.getsockname()[0])


@pytest.mark.tried("ip", inputs=("IPv6 peer",))
def test_ip_changes_addresses_and_links() -> None:
    seen: list[Any] = []
    address = {"device": _DEVICE, "address": "192.0.2.10/24"}
    sixth = {"device": _DEVICE, "address": "2001:db8::10/64"}
    ends = ran(
        "ip",
        lambda: seen.append(_own_address("192.0.2.99")),
        {"operation": "add_address", **address},
        {"operation": "add_address", **sixth},
        lambda: seen.append(_own_address("192.0.2.99")),
        lambda: seen.append(Path("/proc/thread-self/net/if_inet6").read_text()),
        {"device": _DEVICE},
        {"operation": "set_link", "device": _DEVICE, "mtu": 1400},
        lambda: seen.append(_asked(_MTU)),
        {"operation": "set_link", "device": _DEVICE, "state": "down"},
        lambda: seen.append(_asked(_FLAGS) & _IS_UP),
        {"operation": "set_link", "device": _DEVICE, "state": "up", "mtu": 1300},
        lambda: seen.append((_asked(_FLAGS) & _IS_UP, _asked(_MTU))),
        {"operation": "delete_address", **address},
        lambda: seen.append(_own_address("192.0.2.99")),
    )
    assert all(isinstance(end, Success) for end in ends), ends
    assert seen[:2] == [None, "192.0.2.10"]
    assert "20010db8000000000000000000000010" in seen[2]
    assert seen[3:] == [1400, 0, (1, 1300), None]
    shown = ends[2].output
    assert shown is not None
    held = {(item["local"], item["prefixlen"]) for item in shown["items"][0]["addr_info"]}
    assert {("192.0.2.10", 24), ("2001:db8::10", 64)} <= held


def test_ip_changes_routes() -> None:
    seen: list[Any] = []
    net = "198.51.100.0/24"
    ask = {"operation": "get_route", "destination": "198.51.100.7"}

    def look() -> None:
        seen.append(_own_address("198.51.100.7"))

    ends = ran(
        "ip",
        {"operation": "add_address", "device": _DEVICE, "address": "192.0.2.10/24"},
        {"operation": "add_address", "device": _DEVICE, "address": "203.0.113.5/24"},
        look,
        ask,
        {"operation": "add_route", "destination": net, "gateway": "192.0.2.1"},
        look,
        ask,
        {"operation": "add_route", "destination": net, "gateway": "192.0.2.1"},
        {"operation": "replace_route", "destination": net, "gateway": "203.0.113.1"},
        look,
        {"object": "route"},
        {"operation": "delete_route", "destination": net},
        look,
        {"operation": "delete_route", "destination": net},
        {"operation": "add_route", "destination": "0.0.0.0/0", "device": _DEVICE},
        look,
    )
    assert seen == [None, "192.0.2.10", "203.0.113.5", None, "192.0.2.10"]
    classes = [end.error_class if isinstance(end, Failure) else "" for end in ends]
    nowhere, again, gone = (classes[place] for place in (2, 5, 9))
    assert (nowhere, again, gone) == ("not_found", "conflict", "not_found")
    assert [name for place, name in enumerate(classes) if place not in (2, 5, 9)] == [""] * 8
    way, routes = ends[4].output, ends[7].output
    assert way is not None
    assert routes is not None
    assert (way["items"][0]["gateway"], way["items"][0]["prefsrc"]) == ("192.0.2.1", "192.0.2.10")
    assert {"dst": net, "gateway": "203.0.113.1"}.items() <= routes["items"][-1].items() or any(
        item["dst"] == net and item.get("gateway") == "203.0.113.1" for item in routes["items"]
    )


def test_ip_refuses() -> None:
    ends = ran(
        "ip",
        {"operation": "set_link", "device": "nosuch0", "state": "up"},
        {"operation": "add_address", "device": "nosuch0", "address": "192.0.2.1/24"},
        {"operation": "delete_address", "device": _DEVICE, "address": "192.0.2.1/24"},
        {"operation": "add_route", "destination": "198.51.100.0/24", "gateway": "203.0.113.77"},
        {"operation": "set_link", "device": _DEVICE, "mtu": 68, "state": "up"},
        {"operation": "add_address", "device": _DEVICE, "address": "192.0.2.1/24"},
        {"operation": "add_address", "device": _DEVICE, "address": "192.0.2.1/24"},
    )
    classes = [end.error_class if isinstance(end, Failure) else "" for end in ends]
    assert classes == [
        "not_found", "not_found", "not_found", "invalid_parameters", "", "", "conflict",
    ]  # fmt: skip
    (refused,) = outcomes("ip", {"operation": "set_link", "device": "lo", "mtu": 65536})
    assert isinstance(refused, Failure)
    assert refused.error_class == "capability_missing", refused


class _Door:
    """A listener inside the network, and whom a connection to an address reaches."""

    def __init__(self, address: str, family: socket.AddressFamily) -> None:
        self._where = (address, family)
        self.reached: list[bool] = []

    def open(self) -> None:
        address, family = self._where
        self._listener = socket.create_server((address, 8080), family=family)
        self._listener.settimeout(5)

    def close(self) -> None:
        self._listener.close()

    def knock(self, target: str, port: int) -> None:
        with socket.socket(self._where[1], socket.SOCK_STREAM) as door:
            door.settimeout(1)
            try:
                door.connect((target, port))
            except OSError:
                self.reached.append(False)
                return
            self._listener.accept()[0].close()
            self.reached.append(True)


@pytest.mark.tried("iptables", inputs=("IPv6 peer",))
@pytest.mark.parametrize(
    ("family", "own", "away", "new"),
    [
        ("ipv4", "192.0.2.10", "198.51.100.7", "192.0.2.10:8080"),
        ("ipv6", "2001:db8::10", "2001:db8:1::7", "[2001:db8::10]:8080"),
    ],
)
def test_iptables_sends_connections_elsewhere(family: str, own: str, away: str, new: str) -> None:
    program("iptables", "iptables")
    sixth = family == "ipv6"
    # What is redirected reaches an address of the loopback.
    door = _Door(*(("::", socket.AF_INET6) if sixth else ("0.0.0.0", socket.AF_INET)))
    length, anywhere = ("64", "::/0") if sixth else ("24", "0.0.0.0/0")

    def prepare() -> None:
        for words in (
            ["address", "add", f"{own}/{length}", "dev", _DEVICE, *(["nodad"] if sixth else [])],
            ["route", "add", anywhere, "dev", _DEVICE],
        ):
            subprocess.run(["ip", *words], check=True, timeout=20)
        door.open()

    base = {"family": family, "table": "nat", "chain": "OUTPUT", "protocol": "tcp"}
    rule = {**base, "destination": away}
    dnat = {**rule, "destination_port": 80, "jump": "DNAT", "to_address": new}
    several = {**rule, "destination_ports": ["443", "8000:8010"], "jump": "REDIRECT"}
    several["to_ports"] = "8080"
    ends = ran(
        "iptables",
        prepare,
        lambda: door.knock(away, 80),
        {**dnat, "operation": "append"},
        {**dnat, "operation": "check"},
        lambda: door.knock(away, 80),
        {**dnat, "operation": "delete"},
        lambda: door.knock(away, 80),
        {**several, "operation": "insert", "position": 1},
        *(partial(door.knock, away, port) for port in (443, 8005, 444)),
        {"family": family, "table": "nat", "chain": "OUTPUT"},
        {**several, "operation": "delete"},
        {**several, "operation": "check"},
        door.close,
    )
    assert door.reached == [False, True, False, True, True, False]
    assert all(isinstance(end, Success) for end in ends[:-1]), ends
    assert isinstance(ends[-1], Failure)
    assert ends[-1].error_class == "not_found"
    listed = ends[4].output
    assert listed is not None
    (shown,) = listed["rules"]
    assert (shown["target"], shown["destination"]) == ("REDIRECT", away)
    assert "dports 443,8000:8010" in shown["options"]


def test_iptables_refuses() -> None:
    program("iptables", "iptables")
    wrong = {"operation": "append", "chain": "INPUT", "jump": "DROP"}
    ends = ran(
        "iptables",
        {**wrong, "source": "2001:db8::/32"},
        {**wrong, "family": "ipv6", "source": "192.0.2.0/24"},
        {**wrong, "destination_port": 80},
        {**wrong, "jump": "DNAT", "to_address": "192.0.2.1"},
        {**wrong, "protocol": "tcp", "destination_ports": ["70000"]},
        {**wrong, "chain": "NO-SUCH-CHAIN"},
        {**wrong, "operation": "insert", "position": 7},
    )
    classes = [end.error_class if isinstance(end, Failure) else "" for end in ends]
    assert classes == ["invalid_parameters"] * 5 + ["not_found", "invalid_parameters"], ends
    (refused,) = outcomes("iptables", wrong)
    assert isinstance(refused, Failure)
    assert refused.error_class == "capability_missing", refused
