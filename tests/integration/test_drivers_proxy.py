"""The proxy of programs: it connects to checked addresses, for steps that run, and nobody else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

import pytest

from drivers.http import addresses
from drivers.proxy import GuardProxy, Pass
from drivers.reach import Reach
from tests.integration.test_drivers_http_spellings import INNER, METADATA

Talk = Callable[[str], Awaitable[bytes]]
OPEN = Reach(allow_private=True)
STRICT = Reach(allow_private=False)


class Peer:
    """A server that keeps the head of each request and answers each with the same bytes."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
        except (EOFError, ConnectionError):
            return  # A tunnel that was closed without a request.
        finally:
            writer.close()


def proxied(body: Callable[[Peer, GuardProxy, Pass, Talk], Awaitable[Any]], reach: Reach) -> Any:
    """Run `body` beside a peer and a proxy; `talk` sends a head and reads to the end."""

    async def inside() -> Any:
        peer = Peer()
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
        peer.port = server.sockets[0].getsockname()[1]
        proxy = GuardProxy()
        await proxy.start()
        granted = proxy.admit(reach)
        url = proxy.variables(granted)["HTTP_PROXY"]
        port = int(url.rpartition(":")[2])

        async def talk(head: str) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode("latin-1"))
            try:
                async with asyncio.timeout(20):
                    return await reader.read()
            finally:
                writer.close()

        try:
            async with asyncio.timeout(60):
                return await body(peer, proxy, granted, talk)
        finally:
            await proxy.close()
            server.close()

    return asyncio.run(inside())


def authorized(granted: Pass, line: str, *more: str) -> str:
    login = base64.b64encode(f"step:{granted.password}".encode()).decode()
    return "\r\n".join([line, f"Proxy-Authorization: Basic {login}", *more, "", ""])


def test_a_plain_request_goes_to_its_server_without_the_password() -> None:
    async def body(peer: Peer, _proxy: GuardProxy, granted: Pass, talk: Talk) -> bytes:
        line = f"GET http://127.0.0.1:{peer.port}/a?b=1 HTTP/1.1"
        answer = await talk(authorized(granted, line, "Host: x", "Connection: keep-alive"))
        (head,) = peer.heads
        assert head.startswith(b"GET /a?b=1 HTTP/1.1\r\n")
        assert b"Connection: close" in head
        assert b"authorization" not in head.lower()
        return answer

    assert proxied(body, OPEN).endswith(b"hi")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            b"HTTP/1.1 401 No\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5\r\nA: 1\r\n\r\nhi",
            b"HTTP/1.1 401 No\r\nA: 1\r\nConnection: close\r\n\r\nhi",
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nConnection: close\r\n\r\n",
        ),
        (b"SSH-2.0-x\r\n\r\nmore", b"SSH-2.0-x\r\n\r\nmore"),
        (b"HTTP/1.1 200 OK\n\nhi", b"HTTP/1.1 200 OK\n\nhi"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000, b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000),
        (b"", b""),
    ],
)
def test_the_client_hears_that_its_connection_ends(said: bytes, told: bytes) -> None:
    """Else it sends its next request on a connection that is being closed, and fails."""

    async def body(peer: Peer, _proxy: GuardProxy, granted: Pass, talk: Talk) -> bytes:
        peer.answer = said
        return await talk(authorized(granted, f"GET http://127.0.0.1:{peer.port}/ HTTP/1.1"))

    assert proxied(body, OPEN) == told


def test_connect_makes_a_tunnel() -> None:
    async def body(peer: Peer, _proxy: GuardProxy, granted: Pass, talk: Talk) -> bytes:
        head = authorized(granted, f"CONNECT 127.0.0.1:{peer.port} HTTP/1.1")
        return await talk(head + "GET /inside HTTP/1.1\r\n\r\n")

    answer = proxied(body, OPEN)
    assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert answer.endswith(b"hi")


def test_inner_addresses_are_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(peer: Peer, _proxy: GuardProxy, granted: Pass, talk: Talk) -> None:
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        def look_up(host: str, port: int, **more: Any) -> Awaitable[Any]:
            known = "127.0.0.1" if host.rstrip(".").lower() == "localhost" else host
            return real(known, port, flags=4, **more)  # AI_NUMERICHOST: no name server is asked

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        hosts = [host for host in f"{INNER} {METADATA}".split() if host.isascii()]
        for host in hosts:
            for line in (
                f"CONNECT {host}:{peer.port} HTTP/1.1",
                f"GET http://{host}:{peer.port}/ HTTP/1.1",
                f"GET http://user@{host}:{peer.port}/ HTTP/1.1",
            ):
                answer = await talk(authorized(granted, line))
                assert answer.split()[1] in (b"403", b"502", b"400"), (line, answer)
        assert peer.heads == []
        assert granted.refused
        assert len(granted.refused) <= 10

    proxied(body, STRICT)


def test_a_name_is_resolved_once_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record changes to the inside after the check: it is not asked again."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[Any]:
        asked.append(host)
        return [ip_address("192.0.2.1" if len(asked) == 1 else "127.0.0.1")]

    monkeypatch.setattr(addresses, "resolve", resolve)
    monkeypatch.setattr("drivers.http.ranges.is_public", lambda address: "192.0" in str(address))
    connected: list[str] = []

    async def body(_peer: Peer, _proxy: GuardProxy, granted: Pass, talk: Talk) -> bytes:
        real = asyncio.open_connection

        async def open_connection(host: str, port: int) -> Any:
            if host == "192.0.2.1":
                connected.append(host)
                raise ConnectionRefusedError
            return await real(host, port)

        monkeypatch.setattr(asyncio, "open_connection", open_connection)
        first = await talk(authorized(granted, "CONNECT rebinding.example:80 HTTP/1.1"))
        second = await talk(authorized(granted, "CONNECT rebinding.example:80 HTTP/1.1"))
        assert second.split()[1] == b"403"
        return first

    answer = proxied(body, STRICT)
    assert answer.split()[1] == b"502"
    assert connected == ["192.0.2.1"]
    assert asked == ["rebinding.example"] * 2


def test_nobody_without_a_pass_is_served() -> None:
    async def body(peer: Peer, proxy: GuardProxy, granted: Pass, talk: Talk) -> None:
        line = f"GET http://127.0.0.1:{peer.port}/ HTTP/1.1"
        assert b" 407 " in (await talk(f"{line}\r\n\r\n"))[:20]
        other = Pass(OPEN)
        assert b" 407 " in (await talk(authorized(other, line)))[:20]
        proxy.dismiss(granted)
        assert b" 407 " in (await talk(authorized(granted, line)))[:20]
        assert peer.heads == []

    proxied(body, OPEN)


@pytest.mark.parametrize(
    "line",
    ["GET / HTTP/1.1", "CONNECT nothing HTTP/1.1", "GET ftp://h/ HTTP/1.1", "x", "GET x y z",
             "CONNECT h:99999 HTTP/1.1", "GET http://h:x/ HTTP/1.1"]
)  # fmt: skip
def test_what_is_no_request_is_refused(line: str) -> None:
    async def body(_peer: Peer, _proxy: GuardProxy, granted: Pass, talk: Talk) -> bytes:
        return await talk(authorized(granted, line))

    assert b" 400 " in proxied(body, OPEN)[:20]


async def tunnel(granted: Pass, peer: Peer, port: int) -> asyncio.StreamWriter:
    """An open tunnel of a step; its other end waits for a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(authorized(granted, f"CONNECT 127.0.0.1:{peer.port} HTTP/1.1").encode())
    async with asyncio.timeout(20):
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
    return writer


async def closed(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


def port_of(proxy: GuardProxy) -> int:
    return proxy.port


def test_connections_without_a_pass_keep_no_step_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every program of the machine can connect and say nothing."""
    monkeypatch.setattr("drivers.proxy._CONNECTIONS", 8)

    async def body(peer: Peer, proxy: GuardProxy, granted: Pass, talk: Talk) -> bytes:
        kept = await tunnel(granted, peer, port_of(proxy))
        silent = [await asyncio.open_connection("127.0.0.1", port_of(proxy)) for _ in range(40)]
        line = f"GET http://127.0.0.1:{peer.port}/ HTTP/1.1"
        answer = await talk(authorized(granted, line))
        assert not kept.transport.is_closing()
        await closed(kept, *(writer for _, writer in silent))
        return answer

    assert proxied(body, OPEN).endswith(b"hi")


def test_a_step_with_every_connection_keeps_no_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.proxy._CONNECTIONS", 8)

    async def body(peer: Peer, proxy: GuardProxy, granted: Pass, talk: Talk) -> bytes:
        greedy = proxy.admit(OPEN)
        small = await tunnel(granted, peer, port_of(proxy))
        held = [await tunnel(greedy, peer, port_of(proxy)) for _ in range(20)]
        line = f"GET http://127.0.0.1:{peer.port}/ HTTP/1.1"
        answer = await talk(authorized(granted, line))
        assert not small.transport.is_closing()
        await closed(small, *held)
        return answer

    assert proxied(body, OPEN).endswith(b"hi")


def test_a_step_that_ends_while_it_connects_is_left_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body(peer: Peer, proxy: GuardProxy, granted: Pass, talk: Talk) -> bytes:
        async def resolve(_host: str, _port: int) -> list[Any]:
            proxy.dismiss(granted)
            return [ip_address("127.0.0.1")]

        monkeypatch.setattr(addresses, "resolve", resolve)
        try:
            return await talk(authorized(granted, f"CONNECT x:{peer.port} HTTP/1.1"))
        except ConnectionResetError:
            return b""

    assert proxied(body, OPEN) == b""
