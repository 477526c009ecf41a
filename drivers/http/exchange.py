"""One HTTP request and its response, bounded in time and size; every fault becomes a Failure."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from drivers.context import Failure, RunContext
from drivers.errors import fail
from drivers.http.addresses import RefusedAddress, Unresolvable
from drivers.http.decoding import Decoder, Undecodable
from drivers.values import KEPT_BYTES
from runtime import recording
from runtime.spans import Value
from toolmeta.invocation import Invocation

DEFAULT_SECONDS: Final = 10.0
_REDIRECTS: Final = 5
#: Of a body as it travels, beyond what is kept: an encoded one can go on and make nothing.
_OVERHEAD_BYTES: Final = 64 * 1024
_UNAVAILABLE: Final = frozenset({500, 502, 503, 504})
#: Bound of Retry-After: a server may name any time.
_RETRY_AFTER_SECONDS: Final = 3_600.0
#: Of web pages (WHATWG, Encoding Standard), as far as Python has them. What else Python can decode
#: raises whatever it is given, or takes a time that grows with the square of the text (punycode);
#: and it remembers each unknown name for ever.
_CHARSETS: Final = frozenset(
    {
        *("utf-8", "utf8", "us-ascii", "ascii", "utf-16", "utf-16le", "utf-16be", "latin1"),
        *(f"iso-8859-{part}" for part in range(1, 17) if part != 12),
        *(f"windows-{number}" for number in range(1250, 1259)),
        *("koi8-r", "koi8-u", "macintosh", "gb2312", "gbk", "gb18030", "big5", "big5-hkscs"),
        *("euc-jp", "iso-2022-jp", "shift-jis", "euc-kr"),
    }
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `subject` names the target in messages, since a URL may hold a secret."""

    method: str
    url: str
    subject: str
    headers: Mapping[str, str]
    content: bytes | AsyncIterable[bytes] | None = None
    seconds: float = DEFAULT_SECONDS
    keep_bytes: int = 64 * 1024
    #: Redirects are followed for GET and HEAD only, and other hosts get no headers of the caller.
    follow: bool = False
    #: Digest authentication; it keeps the server's nonce, so one object serves one attempt.
    auth: httpx.DigestAuth | None = None
    #: In place of the machine's authorities; like the login, nothing for another host.
    tls: ssl.SSLContext | None = None
    #: Takes the body of a 2xx response in pieces, at most `keep_bytes` of it; none is kept then.
    sink: Callable[[bytes], Awaitable[None]] | None = None
    #: Gets percent and message while the body of an answer arrives.
    progress: Callable[[float | None, str | None], None] | None = None


class UnknownChallenge(httpx.TransportError):
    """The server requires a kind of authentication that is not supported."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response of any status; `body` is its beginning."""

    status: int
    headers: httpx.Headers
    body: bytes
    truncated: bool
    #: The URL that responded, without the query.
    url: str
    redirects: int

    @property
    def text(self) -> str:
        """The kept body as text, by the charset that the server names."""
        named = httpx.Response(200, headers=self.headers).charset_encoding or ""
        charset = named.lower().replace("_", "-")
        return self.body.decode(charset if charset in _CHARSETS else "utf-8", "replace")


def checked_url(url: Any) -> str | None:
    """Why `url` is not one to send to, or None where it is; the text does not quote it."""
    if not isinstance(url, str) or len(url) > 8_192:
        return "the URL is missing or too long"
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return "the URL is not well formed"
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or not port_fits:
        return "the URL must be http:// or https:// with a host"
    if parts.username is not None or parts.password is not None:
        return "the URL must not hold a user or password: send an Authorization header instead"
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):
        return "the URL holds blanks or control characters"
    return None


async def exchange(
    invocation: Invocation, context: RunContext, request: Request
) -> Response | Failure:
    """Send the request once; no retry. Redirect targets are checked like any other address.

    The context records when the request goes out.
    """
    parts = urlsplit(request.url if checked_url(request.url) is None else "")
    # Of a URL no more than this: paths and queries may hold tokens.
    about: dict[str, Value | None] = {
        "http.request.method": request.method,
        "server.address": parts.hostname,
        "server.port": parts.port,
    }
    with recording.child(request.method, about) as span:
        found = await _exchange(invocation, context, request)
        if isinstance(found, Failure):
            span.failed(found.error_class)
        else:
            span.set("http.response.status_code", found.status)
        return found


async def _exchange(
    invocation: Invocation, context: RunContext, request: Request
) -> Response | Failure:
    reason = checked_url(request.url)
    if reason is not None:
        return fail(invocation, "invalid_parameters", reason)
    client = usual = await context.resources.http()
    if request.tls is not None:
        client = context.resources.http_client(request.tls)
    auth = request.auth
    sent_to = request.subject

    async def sending(event: str, about: object) -> None:
        # Until then a cancel is certain to have had no effect.
        if event.endswith("send_request_headers.started"):
            context.acting()

    try:
        http_request: httpx.Request = client.build_request(
            request.method,
            request.url,
            headers={"Accept-Encoding": "identity", **request.headers},
            content=request.content,
            timeout=request.seconds,
            extensions={"trace": sending},
        )
        async with asyncio.timeout(request.seconds):
            for hops in range(_REDIRECTS + 1):
                http_response = await _send(client, http_request, auth)
                try:
                    follow = request.follow and request.method in ("GET", "HEAD")
                    onward = http_response.next_request
                    if not follow or onward is None:
                        return await _read(http_response, request, hops)
                finally:
                    await http_response.aclose()
                if checked_url(str(onward.url)) is not None:
                    message = f"{sent_to} redirects to something that is not a plain web address"
                    return fail(invocation, "http_status", message)
                if _origin(http_request) != _origin(onward):
                    await _close(client, usual)
                    client, auth = usual, None
                http_request = _hop(http_request, onward)
        return fail(invocation, "http_status", f"{sent_to} redirects more than {_REDIRECTS} times")
    except Undecodable as error:
        message = f"the answer of {sent_to} is not the {error} that its header says"
        return fail(invocation, "output_unparsable", message)
    except TimeoutError:
        return fail(
            invocation, "no_answer", f"{sent_to} did not answer within {request.seconds:g} s"
        )
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        return _failure(invocation, sent_to, request.seconds, error)
    finally:
        await _close(client, usual)


async def _close(client: httpx.AsyncClient, usual: httpx.AsyncClient) -> None:
    """The client of one request is closed, the one of all requests stays."""
    if client is not usual:
        await client.aclose()


def _origin(request: httpx.Request) -> tuple[str, bytes]:
    return request.url.scheme, request.url.netloc


def _hop(before: httpx.Request, onward: httpx.Request) -> httpx.Request:
    """The next request of a redirect: another host never gets the caller's headers."""
    if _origin(before) != _origin(onward):
        keep = ("host", "accept-encoding", "user-agent")
        headers = {name: value for name, value in onward.headers.items() if name in keep}
        return httpx.Request(
            onward.method, onward.url, headers=headers, extensions=onward.extensions
        )
    return onward


async def _send(
    client: httpx.AsyncClient, http_request: httpx.Request, auth: httpx.DigestAuth | None
) -> httpx.Response:
    """Send it, and again with the response to a digest challenge (RFC 7616) where there is one.

    httpx would do the same, but read the body of a challenge to its end, however long that is.
    """
    if auth is None:
        return await client.send(http_request, stream=True)
    for last in (False, True):
        flow = auth.auth_flow(http_request)
        try:
            http_request = next(flow)
            while True:
                http_response = await client.send(http_request, stream=True)
                http_request = flow.send(http_response)
                await http_response.aclose()
        except StopIteration:
            # A nonce may become stale even between challenge and response: repeated once.
            if last or not _stale(http_response):
                return http_response
            await http_response.aclose()
        except (httpx.ProtocolError, NotImplementedError, KeyError):
            await http_response.aclose()
            raise UnknownChallenge("an unknown kind of digest authentication") from None
    raise AssertionError("the second pass returns")


def _stale(http_response: httpx.Response) -> bool:
    challenge = http_response.headers.get("www-authenticate", "").lower().replace('"', "")
    return http_response.status_code == 401 and "stale=true" in challenge.replace(" ", "")


async def _read(http_response: httpx.Response, request: Request, hops: int) -> Response:
    body = bytearray()
    seen = received = 0
    sink = request.sink if http_response.is_success else None
    # What is no file is kept in memory.
    most = request.keep_bytes if sink is not None else min(request.keep_bytes, KEPT_BYTES)
    decoder = Decoder(http_response.headers.get("content-encoding"))
    truncated = False
    # httpx would decode too, but a small compressed body may expand to gigabytes.
    whole = http_response.headers.get("content-length", "")
    expected = int(whole) if whole.isascii() and whole.isdigit() and len(whole) < 19 else 0
    async for raw in http_response.aiter_raw(64 * 1024):
        received += len(raw)
        if request.progress is not None:
            request.progress(*_received(received, expected))
        for piece in decoder.feed(raw):
            room = most - seen
            if sink is not None:
                await sink(piece[:room])
            else:
                body += piece[:room]
            seen += len(piece)
            truncated = seen > most
            if truncated:
                break
        truncated |= received > most + _OVERHEAD_BYTES
        if truncated:
            break
    truncated |= not decoder.whole
    return Response(
        http_response.status_code,
        http_response.headers,
        bytes(body),
        truncated,
        str(http_response.url.copy_with(query=None, fragment=None)),
        hops,
    )


def _received(received: int, expected: int) -> tuple[float | None, str]:
    """How far the body of an answer is; without a length nobody knows."""
    if not expected:
        return None, f"received {received / 1e6:.1f} MB"
    percent = round(min(100.0, 100.0 * received / expected), 1)
    return percent, f"received {received / 1e6:.1f} of {expected / 1e6:.1f} MB"


def _failure(invocation: Invocation, subject: str, seconds: float, error: Exception) -> Failure:
    causes = _causes(error)
    match error:
        case RefusedAddress():
            return fail(invocation, "refused_address", f"{subject}: {error}")
        case UnknownChallenge():
            return fail(invocation, "login_refused", f"{subject} asks for {error}")
        case Unresolvable():
            return fail(invocation, "unreachable", f"{subject}: {error}")
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            message = f"{subject} cannot be connected to within {seconds:g} s"
            return fail(invocation, "unreachable", message)
        case httpx.TimeoutException():
            return fail(invocation, "no_answer", f"{subject} did not answer within {seconds:g} s")
        case httpx.ConnectError():
            return _unconnected(invocation, subject, causes)
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return fail(invocation, "connection_lost", f"{subject} broke the connection")
    message = f"the request to {subject} cannot be sent: {type(error).__name__}"
    return fail(invocation, "invalid_parameters", message)


def _unconnected(invocation: Invocation, subject: str, causes: list[BaseException]) -> Failure:
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "") or cause.reason or "handshake failed"
            message = f"{subject}: no trusted TLS connection: {reason}"
            return fail(invocation, "tls_failed", message)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return fail(invocation, "connection_refused", f"{subject} refuses the connection")
    return fail(invocation, "unreachable", f"{subject} cannot be reached")


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found and len(found) < 10:
        found.append(current)
        if isinstance(current, BaseExceptionGroup):
            found.extend(current.exceptions)
        current = current.__cause__ or current.__context__
    return found


def status_failure(
    invocation: Invocation, subject: str, response: Response, output: dict[str, Any]
) -> Failure:
    """The failure for a status outside 2xx; with Retry-After 429 and 503 give the time to wait."""
    wait = retry_after(response.headers.get("retry-after"))
    message = f"{subject} answered {response.status}"
    if response.status == 429 or (response.status == 503 and wait is not None):
        if wait is not None:
            output = {**output, "retry_after_seconds": wait}
            message += f" and asks to come back in {wait:g} s"
        return fail(invocation, "rate_limited", message, output)
    error_class = "http_unavailable" if response.status in _UNAVAILABLE else "http_status"
    return fail(invocation, error_class, message, output)


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, section 10.2.3): a number or a date."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit() and len(value) < 12:
        return min(float(value), _RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _RETRY_AFTER_SECONDS)
