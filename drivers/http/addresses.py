"""Which addresses HTTP tools may reach, and connections to the checked address.

A name is resolved once per request, every address is checked, and the connection is made to a
checked address while Host header, SNI and certificate check keep the name. A DNS record that
changes between check and use (rebinding) therefore has no effect, and each redirect is a
request of its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, Final

import httpx

from drivers.cleanup import run_uncancelled
from drivers.http import ranges
from drivers.http.ranges import Address

_RESOLVE_SECONDS: Final = 10.0
#: Further addresses of a name are tried where one cannot be connected to.
_TRIED: Final = 3
_CLOSE_SECONDS: Final = 2.0


class RefusedAddress(httpx.TransportError):
    """The address is not one that HTTP tools may reach; nothing was sent."""


class Unresolvable(httpx.TransportError):
    """The name has no address; nothing was sent."""


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a name or literal, in the resolver's order; raises Unresolvable."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            # Also spellings such as 0x7f.1 or 2130706433, just as a connect would read them.
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise Unresolvable("the name cannot be resolved") from None
    addresses = (ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    return list(dict.fromkeys(addresses))


async def checked(host: str, port: int, *, allow_private: bool) -> list[Address]:
    """The addresses to connect to, of which every one may be reached.

    Raises RefusedAddress or Unresolvable. `allow_private` allows loopback, link-local and private
    addresses, but never the metadata service of a cloud.
    """
    if ranges.names_metadata(host):
        raise RefusedAddress("the name is that of a cloud's metadata service")
    addresses = await resolve(host, port)
    for address in addresses:
        reason = ranges.refusal(address, allow_private=allow_private)
        if reason is not None:
            raise RefusedAddress(reason)
    return addresses


class _Opening:
    """A connection until its TLS handshake is done.

    Where that is cancelled httpcore leaves it open, and nobody would close it before the server.
    """

    def __init__(self, outer: Callable[[str, dict[str, Any]], Awaitable[None]] | None) -> None:
        """`outer` is told everything too."""
        self._outer = outer
        self._stream: Any = None

    async def trace(self, event: str, about: dict[str, Any]) -> None:
        """Take an event of httpcore (its extension `trace`)."""
        if event == "connection.connect_tcp.complete":
            self._stream = about["return_value"]
        elif event == "connection.start_tls.complete":
            self._stream = None
        if self._outer is not None:
            await self._outer(event, about)

    async def close(self) -> None:
        """Close it; one that is closed already stays so."""
        if self._stream is not None:
            await run_uncancelled(self._stream.aclose(), _CLOSE_SECONDS)


class GuardedTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 to checked addresses; no connection is kept, so none is shared between names."""

    def __init__(self, tls: ssl.SSLContext, *, allow_private: bool) -> None:
        """`allow_private` allows inner addresses; each is still resolved once and pinned."""
        self._allow_private = allow_private
        self._inner = httpx.AsyncHTTPTransport(
            verify=tls,
            trust_env=False,
            limits=httpx.Limits(max_connections=128, max_keepalive_connections=0),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; raises RefusedAddress or Unresolvable before anything is sent."""
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await checked(url.host, port, allow_private=self._allow_private)
        failed: httpx.TransportError = Unresolvable("the name has no address")
        for address in addresses[:_TRIED]:
            opening = _Opening(request.extensions.get("trace"))
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions={
                    **request.extensions,
                    "sni_hostname": url.host,
                    "trace": opening.trace,
                },
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
            except asyncio.CancelledError:
                await opening.close()
                raise
        raise failed

    async def aclose(self) -> None:
        """Close the connections that are still open."""
        await self._inner.aclose()
