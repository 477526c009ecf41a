"""Events of the camera over a WebSocket, in the order of arrival.

Source: VAPIX, "Event streaming over WebSocket" (`/vapix/ws-data-stream?sources=events`, method
`events:configure`, digest login in the handshake).
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from typing import Any, Final

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from drivers.cameras import rules
from drivers.cameras.client import Camera
from drivers.http.addresses import RefusedAddress, Unresolvable, checked
from drivers.resources import trusted
from drivers.values import OUTPUT_BYTES, jsonable

_PATH: Final = "/vapix/ws-data-stream?sources=events"
_SECONDS: Final = 10.0
_MESSAGE_BYTES: Final = 64 * 1024
_WAITING: Final = 16


async def streaming(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """The topics of the camera, or the events of some seconds."""
    if given["operation"] == "get_available_topics":
        found = await rules.topics(camera)
        return {"topics": found, "count": len(found)}
    filters: list[dict[str, str]] = [{"topicFilter": topic} for topic in given["topics"]]
    if given.get("content_filter"):
        filters = [{**one, "contentFilter": given["content_filter"]} for one in filters]
    connection = await _connect(camera)
    try:
        return await _collect(camera, connection, filters, given)
    except ConnectionClosed:
        message = f"{camera.subject} broke the connection"
        raise camera.failed("connection_lost", message) from None
    finally:
        await connection.close()


async def _connect(camera: Camera) -> ClientConnection:
    """An open stream: first without login, then with the response to the challenge."""
    headers: dict[str, str] = {}
    challenge: httpx.Headers | None = None
    for _ in range(3):
        try:
            return await _handshake(camera, headers)
        except InvalidStatus as error:
            if error.response.status_code != 401:
                raise _by_status(camera, error.response.status_code) from None
            answered = challenge is not None
            challenge = httpx.Headers(list(error.response.headers.raw_items()))
            if answered and "stale=true" not in challenge.get("www-authenticate", "").lower():
                raise _by_status(camera, 401) from None
            headers = _login(camera, challenge)
        except (InvalidHandshake, EOFError):
            message = f"{camera.subject} does not speak WebSocket there"
            raise camera.failed("connection_lost", message) from None
        except TimeoutError:
            message = f"{camera.subject} did not answer within {_SECONDS:g} s"
            raise camera.failed("no_answer", message) from None
        except ConnectionRefusedError:
            message = f"{camera.subject} refuses the connection"
            raise camera.failed("connection_refused", message) from None
        except OSError as error:
            raise _unconnected(camera, error) from None
    raise _by_status(camera, 401)


def _login(camera: Camera, challenge: httpx.Headers) -> dict[str, str]:
    """The Authorization header that answers the challenge, by the code that HTTP uses too."""
    request = httpx.Request("GET", camera.url(_PATH))
    flow = httpx.DigestAuth(
        str(camera.invocation.arguments["username"]), str(camera.invocation.arguments["password"])
    ).auth_flow(request)
    try:
        next(flow)
        answered = flow.send(httpx.Response(401, headers=challenge, request=request))
    except (StopIteration, httpx.ProtocolError, NotImplementedError, KeyError):
        message = f"{camera.subject} offers no digest login, and nothing else is used"
        raise camera.failed("login_refused", message) from None
    return {"Authorization": answered.headers["Authorization"]}


def _by_status(camera: Camera, status: int) -> Exception:
    if status in (401, 403):
        message = f"{camera.subject} refuses the user name or the password"
        return camera.failed("login_refused", message)
    if status == 404:
        return camera.failed("not_found", f"{camera.subject} has no event stream")
    return camera.failed("http_status", f"{camera.subject} answered {status}")


def _unconnected(camera: Camera, error: OSError) -> Exception:
    reason = getattr(error, "verify_message", None)
    if reason is not None or type(error).__name__.startswith("SSL"):
        message = f"{camera.subject}: no trusted TLS connection: {reason or 'handshake failed'}"
        return camera.failed("tls_failed", message)
    return camera.failed("unreachable", f"{camera.subject} cannot be reached")


async def _handshake(camera: Camera, headers: dict[str, str]) -> ClientConnection:
    tls = await asyncio.to_thread(trusted) if camera.secure else None
    async with asyncio.timeout(_SECONDS):
        plain = await _socket(camera)
        try:
            return await connect(
                camera.url(_PATH, "wss" if camera.secure else "ws"),
                sock=plain,
                ssl=tls,
                server_hostname=camera.host if tls is not None else None,
                additional_headers=headers,
                user_agent_header="runstream",
                compression=None,
                proxy=None,
                open_timeout=_SECONDS,
                close_timeout=2.0,
                max_size=_MESSAGE_BYTES,
                max_queue=_WAITING,
            )
        except BaseException:
            plain.close()
            raise


async def _socket(camera: Camera) -> socket.socket:
    """Connected to an address that was checked, as the HTTP tools do it."""
    port = camera.port or (443 if camera.secure else 80)
    allowed = camera.context.resources.settings.allow_private_addresses
    try:
        addresses = await checked(camera.host, port, allow_private=allowed)
    except Unresolvable as error:
        raise camera.failed("unreachable", f"{camera.subject}: {error}") from None
    except RefusedAddress as error:
        raise camera.failed("refused_address", f"{camera.subject}: {error}") from None
    address = addresses[0]
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    plain = socket.socket(family, socket.SOCK_STREAM)
    plain.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(plain, (str(address), port))
    except BaseException:
        plain.close()
        raise
    return plain


async def _collect(
    camera: Camera,
    connection: ClientConnection,
    filters: list[dict[str, str]],
    given: dict[str, Any],
) -> dict[str, Any]:
    call = {
        "apiVersion": "1.0",
        "context": "runstream",
        "method": "events:configure",
        "params": {"eventFilterList": filters},
    }
    await connection.send(orjson.dumps(call).decode())
    begun = time.monotonic()
    found: list[dict[str, Any]] = []
    room = OUTPUT_BYTES - 2_000
    truncated = False
    with suppress(TimeoutError):
        async with asyncio.timeout(given["duration"]):
            while len(found) < given["max_events"] and not truncated:
                message = await connection.recv()
                event = _event(camera, message)
                if event is None:
                    continue
                room -= len(orjson.dumps(event)) + 1
                truncated = room < 0
                if not truncated:
                    found.append(event)
                    camera.context.report_progress(None, f"{len(found)} events")
    return {
        "events": found,
        "count": len(found),
        "seconds": round(time.monotonic() - begun, 3),
        "truncated": truncated,
    }


def _event(camera: Camera, message: str | bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError:
        raise camera.unreadable("an event is not JSON") from None
    if not isinstance(document, dict):
        raise camera.unreadable("an event is no JSON object")
    error = document.get("error")
    if isinstance(error, dict):
        said = f"{error.get('message', 'it failed')} (code {error.get('code', '?')})"
        raise camera.failed("http_status", f"{camera.subject} says: {said}")
    params = document.get("params")
    note = params.get("notification") if isinstance(params, dict) else None
    if document.get("method") != "events:notify" or not isinstance(note, dict):
        return None
    inner = note.get("message")
    inside = inner if isinstance(inner, dict) else {}
    event: dict[str, Any] = jsonable(
        {
            "topic": note.get("topic"),
            "timestamp_ms": note.get("timestamp"),
            "source": inside.get("source", {}),
            "data": inside.get("data", {}),
        }
    )
    return event
