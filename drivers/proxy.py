"""An HTTP proxy for programs that take URLs: it connects to checked addresses only.

It listens on loopback and on a socket in the file system, serves CONNECT and plain HTTP (RFC 9110,
section 9.3.6; RFC 9112, section 3.2), and only for who knows the password of a running step. A name
is resolved once for each connection, every address of it is checked, and the connection is made to
a checked one, so that redirects and records that change between check and use lead nowhere.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from drivers.enclosed import Tunnel, WayOut
from drivers.http import ranges
from drivers.reach import Reach
from toolmeta.hosts import split_port

_HEAD_BYTES: Final = 32 * 1024
_HEAD_SECONDS: Final = 20.0
_CONNECT_SECONDS: Final = 10.0
#: Further addresses of a name are tried where one cannot be connected to.
_TRIED: Final = 3
#: Connections at once. For a further one another is closed, so that nobody keeps others out: the
#: oldest that has shown no password, else the oldest of the step that has most.
_CONNECTIONS: Final = 256
_PIECE: Final = 64 * 1024
#: What a sender says of its own connection only.
_OF_ONE_HOP: Final = ("connection", "keep-alive", "proxy-connection")
#: Refusals that are kept of one step, and as many failures.
_NOTED: Final = 10


class _Refused(Exception):
    """The proxy answers with `status` in place of a connection."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


Open = dict[asyncio.StreamWriter, asyncio.Task[Any]]


@dataclass(eq=False, slots=True)
class Pass:
    """The right of one step to use the proxy, and what it was refused."""

    reach: Reach
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    refused: list[str] = field(default_factory=list)
    #: What could not be connected to.
    unreached: list[str] = field(default_factory=list)
    #: What is open for the step, the oldest first, each with what serves it.
    connections: Open = field(default_factory=dict, repr=False)


class GuardProxy:
    """One server for every step of this process; belongs to one event loop."""

    def __init__(self) -> None:
        """Listens nowhere yet."""
        self._passes: dict[str, Pass] = {}
        self._servers: list[asyncio.Server] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._port = 0
        #: Of whom it is not known yet whose they are, the oldest first.
        self._unknown: Open = {}

    async def start(self) -> None:
        """Listen on a free port of loopback, and on a socket in the file system.

        The socket is for programs in a network namespace of their own; the password keeps others
        out, and programs may run as another user.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="runstream-proxy-")
        os.chmod(self._folder.name, 0o711)  # noqa: PTH101, S103
        here = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_BYTES)
        self._port = here.sockets[0].getsockname()[1]
        file = await asyncio.start_unix_server(self._serve, self.socket, limit=_HEAD_BYTES)
        os.chmod(self.socket, 0o666)  # noqa: PTH101, S103
        self._servers = [here, file]

    @property
    def socket(self) -> str:
        """The path of the socket in the file system."""
        assert self._folder is not None  # noqa: S101  # started before anything is asked
        return f"{self._folder.name}/socket"

    @property
    def port(self) -> int:
        """The port of loopback."""
        return self._port

    def way_out(self, granted: Pass, loopback: Iterable[tuple[str, int]]) -> WayOut:
        """For a program that has a network namespace of its own, with servers on loopback."""
        known = base64.b64encode(f"step:{granted.password}".encode()).decode()
        login = f"Proxy-Authorization: Basic {known}"
        tunnels = tuple(
            Tunnel(port, f"CONNECT {host}:{port} HTTP/1.1\r\n{login}\r\n\r\n")
            for host, port in loopback
        )
        return WayOut(self.socket, self._port, tunnels)

    def admit(self, reach: Reach) -> Pass:
        """A pass for one step, valid until `dismiss`."""
        granted = Pass(reach)
        self._passes[granted.password] = granted
        return granted

    def dismiss(self, granted: Pass) -> None:
        """End the right of a step, and its connections."""
        self._passes.pop(granted.password, None)
        while granted.connections:
            _end_oldest(granted.connections)

    def variables(self, granted: Pass) -> dict[str, str]:
        """The environment of a program that goes through the proxy; for loopback names too."""
        url = f"http://step:{granted.password}@127.0.0.1:{self._port}"
        named = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        found = {name: url for one in named for name in (one, one.lower())}
        return {**found, "NO_PROXY": "", "no_proxy": ""}

    async def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # the server makes one for each connection
        self._make_room()
        self._unknown[writer] = task
        try:
            await self._exchange(reader, writer)
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError, UnicodeError):
            pass  # One side went away or sent what is no request: there is nobody to tell.
        finally:
            self._unknown.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _make_room(self) -> None:
        """End a connection where there are as many as there may be."""
        if len(self._unknown) + sum(map(_size, self._passes.values())) >= _CONNECTIONS:
            most = max(self._passes.values(), key=_size, default=None)
            _end_oldest(self._unknown if most is None or self._unknown else most.connections)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        try:
            line, headers = _parsed_head(head)
            granted = self._passes.get(_password(headers))
            if granted is None:
                raise _Refused("407 Proxy Authentication Required", "the step has no pass")
            granted.connections[writer] = self._unknown.pop(writer)
            try:
                await _lead(granted, line, headers, reader, writer)
            finally:
                granted.connections.pop(writer, None)
        except _Refused as refused:
            body = f"runstream: {refused.reason}\n".encode()
            answer = f"HTTP/1.1 {refused.status}\r\nContent-Length: {len(body)}\r\n"
            more = 'Proxy-Authenticate: Basic realm="runstream"\r\n' if "407" in answer else ""
            writer.write(f"{answer}{more}Connection: close\r\n\r\n".encode() + body)
            await writer.drain()


async def _lead(
    granted: Pass,
    line: tuple[str, str, str],
    headers: list[tuple[str, str]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Serve a request of a step; raises _Refused before anything was sent."""
    method, target, version = line
    host, port, onward = _target(method, target)
    peer_reader, peer = await _connected(granted, host, port)
    try:
        if onward is None:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            # One request for each connection: the next one may be for another host.
            kept = [
                f"{name}: {value}"
                for name, value in headers
                if name.lower() not in _OF_ONE_HOP and name.lower() != "proxy-authorization"
            ]
            lines = [f"{method} {onward} {version}", *kept, "Connection: close", "", ""]
            peer.write("\r\n".join(lines).encode("latin-1"))
        await _relay(reader, writer, peer_reader, peer, opaque=onward is None)
    except asyncio.CancelledError:
        # What a peer does not take must not outlive the step either.
        peer.transport.abort()
        raise
    finally:
        peer.close()


def _size(granted: Pass) -> int:
    return len(granted.connections)


def _end_oldest(connections: Open) -> None:
    writer = next(iter(connections))
    connections.pop(writer).cancel()
    writer.transport.abort()


async def _connected(
    granted: Pass, host: str, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # The HTTP driver's look-up; loaded here, since few executors need a proxy.
    from drivers.http.addresses import Unresolvable, resolve

    reason = "the name is that of a cloud's metadata service"
    if not ranges.names_metadata(host):
        try:
            addresses = await resolve(host, port)
        except Unresolvable as error:
            _note(granted.unreached, f"{host[:253]}: {error}")
            raise _Refused("502 Bad Gateway", f"{host}: {error}") from None
        found = (granted.reach.refusal(address, ((port, port),)) for address in addresses)
        refusal = next((text for text in found if text is not None), None)
        if refusal is None:
            for address in addresses[:_TRIED]:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        return await asyncio.open_connection(str(address), port)
            told = f"{host}:{port} cannot be connected to"
            _note(granted.unreached, told)
            raise _Refused("502 Bad Gateway", told)
        reason = refusal
    _note(granted.refused, f"{host[:253]}: {reason}")
    raise _Refused("403 Forbidden", f"{host[:253]}: {reason}")


def _note(kept: list[str], text: str) -> None:
    if len(kept) < _NOTED:
        kept.append(text)


def _parsed_head(head: bytes) -> tuple[tuple[str, str, str], list[tuple[str, str]]]:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    pairs = [line.partition(":") for line in lines[1:] if line]
    bad = any(not colon or not name or name != name.strip() for name, colon, _ in pairs)
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or bad:
        raise _Refused("400 Bad Request", "it is no HTTP/1 request")
    return (words[0], words[1], words[2]), [(name, text.strip()) for name, _, text in pairs]


def _password(headers: list[tuple[str, str]]) -> str:
    for name, value in headers:
        scheme, _, encoded = value.partition(" ")
        if name.lower() == "proxy-authorization" and scheme.lower() == "basic":
            with contextlib.suppress(binascii.Error, UnicodeError):
                return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    return ""


def _target(method: str, target: str) -> tuple[str, int, str | None]:
    """Host, port and, for plain HTTP, the target in origin form."""
    try:
        if method == "CONNECT":
            host, port = split_port(target)
            if not host or port is None:
                raise ValueError
            return host, port, None
        parts = urlsplit(target)
        if parts.scheme.lower() != "http" or not parts.hostname:
            raise ValueError
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return parts.hostname, parts.port or 80, path
    except ValueError:
        raise _Refused("400 Bad Request", "the target is no host with a port") from None


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    peer_reader: asyncio.StreamReader,
    peer: asyncio.StreamWriter,
    *,
    opaque: bool,
) -> None:
    """Bytes in both directions until both have ended, or the peer has.

    Where they are not `opaque`, the peer answers to one HTTP request.
    """
    up = asyncio.create_task(_copy(reader, peer))
    try:
        if not opaque:
            await _answer_head(peer_reader, writer)
        await _copy(peer_reader, writer)
    finally:
        up.cancel()
        await asyncio.wait({up})


async def _answer_head(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Lead the head of an answer on, and say in it that the connection ends with the answer.

    The client would keep the connection for its next request, and would fail where it sends that
    before it sees the end (RFC 9112, section 9.6). What is no such head is left as it is.
    """
    interim = True
    while interim:
        try:
            head = await source.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            sink.write(error.partial)
            return
        except (asyncio.LimitOverrunError, OSError):
            return
        # 101 is the last answer of HTTP on a connection.
        interim = head[8:10] == b" 1" and head[9:12] != b"101"
        if head.startswith(b"HTTP/1.") and not interim:
            lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
            named = (line.partition(b":")[0].decode("latin-1").lower() for line in lines)
            kept = [
                line for line, name in zip(lines, named, strict=True) if name not in _OF_ONE_HOP
            ]
            head = b"\r\n".join([*kept, b"Connection: close", b"", b""])
        sink.write(head)
        await sink.drain()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_PIECE):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
    except OSError:
        pass  # The connection is over; the other direction ends by it.
