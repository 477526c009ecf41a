"""A real local HTTP server, and calls of the drivers on it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from drivers.context import Outcome
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta.invocation import Invocation


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """A server that answers every request with `reply` bytes, chosen by path."""

    replies: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            method, path, _ = first.split(" ")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append(Request(method, path, headers, body))
            reply = self.replies.get(path.partition("?")[0])
            if reply is None:
                await reader.read()
                return
            writer.write(reply)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def reply(status: int, body: bytes = b"", **headers: Any) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def served(
    replies: dict[str, bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(replies)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


Body = Callable[[Server, Resources], Awaitable[Any]]


def with_server(replies: dict[str, bytes], body: Body, **changed: Any) -> Any:
    async def inside() -> Any:
        async with served(replies) as server:
            opened = Resources(settings(**{"allow_private_addresses": True, **changed}))
            try:
                return await body(server, opened)
            finally:
                await opened.close()

    return asyncio.run(inside())


async def call(opened: Resources, driver: str, **arguments: Any) -> Outcome:
    invocation = Invocation(driver, driver, call="request", arguments=arguments)
    return await Run(opened, invocation).outcome()
