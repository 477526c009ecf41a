"""Spellings of inner addresses and of metadata services: not one connection is made."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from ipaddress import ip_address
from typing import Any

import pytest

from drivers.context import Failure, Outcome
from drivers.http import ranges
from drivers.resources import Resources
from tests.integration.http_lab import Server, call, reply, with_server

#: Hosts as a plan may write them.
INNER = """
127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0x7F.0x0.0x0.0x1 017700000001 0177.0.0.1
0177.0000.0000.0001 127.0.0.1. 127.1. 0 0.0.0.0 0x0 0.1.2.3 localhost LOCALHOST localhost.
①②⑦.⓪.⓪.① \uff11\uff12\uff17.0.0.1 127。0。0。1 ⓛocalhost %31%32%37.0.0.1 127.0.0.1%00.example.org
10.0.0.1 10.1 167772161 012.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.257 0xc0a80001
100.64.0.1 100.127.255.254 192.0.0.1 192.0.0.9 192.0.0.10 192.0.0.170 192.0.2.1 192.88.99.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 169.254.1.1
[::] [::1] [0:0:0:0:0:0:0:1] [0000::0001] [::1%25lo] [::127.0.0.1] [::7f00:1] [::ffff:127.0.0.1]
[::ffff:7f00:1] [::FFFF:10.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1]
[64:ff9b::a00:1] [64:ff9b:1::7f00:1] [64:ff9b:1:7f00:0:100::] [2002:7f00:1::] [2002:a00:1::]
[2002:c0a8:1::1] [2001::1] [2001:0:c000:201:0:0:80ff:fffe] [2001:2::1] [2001:10::1] [2001:20::1]
[2001:db8::1] [3fff::1] [100::1] [5f00::1] [fc00::1] [fd12:3456::1] [fe80::1] [fe80::1%25eth0]
[fec0::1] [ff02::1] [4000::1] [8000::1] [2606:4700::5efe:7f00:1] [2606:4700::200:5efe:a00:1]
"""

METADATA = """
169.254.169.254 169.254.169.254. 2852039166 0xa9fea9fe 0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376
169.254.43518 169.254.169.253 169.254.170.2 169.254.170.23 169.254.0.23 168.63.129.16 2822734096
0xa83f8110 100.100.100.200 1684301000 192.0.0.192 metadata METADATA. metadata.goog
metadata.google.internal Metadata.Google.Internal. x.metadata.google.internal instance-data
[fd00:ec2::254] [fd00:ec2::23] [fd00:c1::a9fe:a9fe] [fe80::a9fe:a9fe] [::ffff:169.254.169.254]
[::ffff:a83f:8110] [::ffff:168.63.129.16] [64:ff9b::a9fe:a9fe] [64:ff9b::168.63.129.16]
[2002:a9fe:a9fe::] [2002:a83f:8110::] [2606:4700::5efe:a9fe:a9fe] [::169.254.169.254]
"""

PUBLIC = "1.1.1.1 8.8.8.8 2606:4700::1111 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808"

#: Names whose record points to the inside.
RECORDS = {"inside.example": "127.0.0.1", "azure.example": "168.63.129.16"}


class Connections:
    """Counts attempts to connect, of which none leaves this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Any] = []
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def connect(_sock: Any, address: Any) -> None:
            self.made.append(address)
            raise ConnectionRefusedError(111, "refused by the test")

        def look_up(host: str, port: int, **more: Any) -> Awaitable[Any]:
            known = RECORDS.get(host, host)
            # No test asks a real name server.
            flags = 0 if known.rstrip(".").lower() == "localhost" else socket.AI_NUMERICHOST
            return real(known, port, flags=flags, **more)

        monkeypatch.setattr(loop, "sock_connect", connect)
        monkeypatch.setattr(loop, "getaddrinfo", look_up)


def sent_to(
    hosts: list[str], monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> tuple[list[tuple[str, Outcome]], list[Any]]:
    """The outcome for each host, and every connection that was begun."""

    async def body(server: Server, opened: Resources) -> Any:
        watched = Connections(monkeypatch)
        outcomes = []
        for host in hosts:
            url = f"http://{host}:{server.port}/latest/meta-data/"
            outcomes += [(host, await call(opened, name, url=url)) for name in ("http", "webhook")]
        return outcomes, watched.made

    found: tuple[list[tuple[str, Outcome]], list[Any]] = with_server(
        {"/": reply(200)}, body, allow_private_addresses=private
    )
    return found


def assert_refused(outcomes: list[tuple[str, Outcome]], made: list[Any]) -> None:
    assert made == []
    for host, outcome in outcomes:
        assert isinstance(outcome, Failure), host
        allowed = ("refused_address", "invalid_parameters", "unreachable")
        assert outcome.error_class in allowed, (host, outcome)


def test_the_inside_is_not_reached_by_any_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    hosts = [*INNER.split(), *METADATA.split(), *RECORDS]
    assert len(hosts) > 60
    assert_refused(*sent_to(hosts, monkeypatch, private=False))


def test_metadata_services_are_refused_where_private_addresses_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert_refused(*sent_to([*METADATA.split(), "azure.example"], monkeypatch, private=True))


def test_inner_addresses_are_reached_where_they_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The count of connections can be other than 0."""
    _, made = sent_to(["127.0.0.1", "10.0.0.1"], monkeypatch, private=True)
    assert {address[0] for address in made} == {"127.0.0.1", "10.0.0.1"}


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public_addresses_stay_public(address: str) -> None:
    assert ranges.is_public(ip_address(address))
