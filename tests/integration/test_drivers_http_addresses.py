"""Addresses that stay unreached, and names that are looked up once."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.http import ranges
from drivers.resources import Resources
from tests.certificates import Authority
from tests.driver_kit import settings
from tests.integration.http_lab import Server, call, reply, served, with_server

FORBIDDEN = [
    "http://127.0.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://localhost:{port}/",
    "http://0.0.0.0:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://user@127.0.0.1:{port}/",
    "http://example.org@127.0.0.1:{port}/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ x",
]


def test_forbidden_addresses_are_never_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def body(server: Server, opened: Resources) -> list[Outcome]:
        outcomes = []
        for template in FORBIDDEN:
            for driver in ("http", "webhook"):
                url = template.format(port=server.port)
                outcomes.append(await call(opened, driver, url=url))
        assert server.connections == 0
        return outcomes

    outcomes = with_server({"/": reply(200)}, body, allow_private_addresses=False)
    for outcome in outcomes:
        assert isinstance(outcome, Failure)
        assert outcome.error_class in ("refused_address", "invalid_parameters")
        assert not outcome.transient


def test_a_redirect_to_the_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first host counts as public here; the redirect goes to a refused spelling of it."""

    async def body(server: Server, opened: Resources) -> tuple[Outcome, Server]:
        server.replies["/a"] = reply(302, Location=f"http://[::1]:{server.port}/inside")
        real = ranges.is_public
        monkeypatch.setattr(
            ranges, "is_public", lambda address: str(address) == "127.0.0.1" or real(address)
        )
        url = f"http://127.0.0.1:{server.port}/a"
        return await call(opened, "http", url=url, follow_redirects=True), server

    outcome, server = with_server({}, body, allow_private_addresses=False)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"
    assert len(server.requests) == 1


def test_a_name_is_resolved_once_and_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look-up would get the inner address; there is no second look-up."""
    answers: list[str] = []

    async def body(server: Server, opened: Resources) -> Outcome:
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def rebinding(host: str, port: int, **more: Any) -> Any:
            if host == "rebind.example":
                answers.append(host)
                address = "203.0.113.9" if len(answers) == 1 else "127.0.0.1"
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]
            return await real(host, port, **more)

        monkeypatch.setattr(loop, "getaddrinfo", rebinding)
        monkeypatch.setattr(ranges, "is_public", lambda address: str(address) == "203.0.113.9")
        url = f"http://rebind.example:{server.port}/"
        outcome = await call(opened, "http", url=url, timeout=0.5)
        assert server.connections == 0
        return outcome

    outcome = with_server({"/": reply(200)}, body, allow_private_addresses=False)
    assert isinstance(outcome, Failure)
    assert answers == ["rebind.example"]


def test_tls_is_verified_by_name_although_the_address_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)

    async def inside() -> list[Outcome]:
        tls = authority.server("localhost")
        async with served({"/": reply(200, b"secure")}, tls) as server:
            opened = Resources(settings(allow_private_addresses=True))
            outcomes = [await call(opened, "http", url=f"https://localhost:{server.port}/")]
            await opened.close()
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
            opened = Resources(settings(allow_private_addresses=True))
            for host in ("localhost", "127.0.0.1"):
                outcomes.append(await call(opened, "http", url=f"https://{host}:{server.port}/"))
            await opened.close()
            return outcomes

    untrusted, good, other_name = asyncio.run(inside())
    assert isinstance(untrusted, Failure)
    assert untrusted.error_class == "tls_failed"
    assert isinstance(good, Success)
    assert isinstance(other_name, Failure)
    assert other_name.error_class == "tls_failed"
