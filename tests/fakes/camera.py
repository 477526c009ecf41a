"""A camera simulator of the project's own: an HTTP server that demands digest login.

It answers what Axis documents, keeps state, and answers anything else with 404 or 400, so that a
tool which calls an undocumented form fails its test. It shares no code with the driver.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import ssl
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from tests.fakes.camera_apis import Apis, Reply
from tests.fakes.camera_state import State

REALM = "AXIS_ACCC8E000001"
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _md5(*words: str) -> str:
    return hashlib.md5(":".join(words).encode(), usedforsecurity=False).hexdigest()


@dataclass
class Logins:
    """The digest side of the server (RFC 7616): nonces, their counts and their age."""

    user: str
    password: str
    #: A nonce is stale after so many requests; None never.
    nonce_uses: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    #: How many challenges said that the nonce was stale.
    stale: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def challenge(self, stale: bool = False) -> str:
        nonce = secrets.token_urlsafe(24)
        with self._lock:
            self.counts[nonce] = 0
            self.stale += stale
        words = f'Digest realm="{REALM}", nonce="{nonce}", algorithm=MD5, qop="auth"'
        return f"{words}, stale=true" if stale else words

    def check(self, method: str, target: str, header: str | None) -> str | None:
        """None if the login is good, else the challenge to answer with."""
        kind, _, rest = (header or "").partition(" ")
        if kind.lower() != "digest":
            return self.challenge()
        given = {
            name.strip(): value.strip().strip('"')
            for name, _, value in (part.partition("=") for part in rest.split(", "))
        }
        nonce, count = given.get("nonce", ""), given.get("nc", "")
        first = _md5(self.user, REALM, self.password)
        second = _md5(method, target)
        wanted = _md5(first, nonce, count, given.get("cnonce", ""), "auth", second)
        good = (
            given.get("username") == self.user
            and given.get("uri") == target
            and given.get("qop") == "auth"
            and secrets.compare_digest(given.get("response", ""), wanted)
        )
        if not good:
            return self.challenge()
        with self._lock:
            used = self.counts.get(nonce)
            # Unknown, replayed, or used up: right password, but a new nonce is needed.
            fresh = used is not None and int(count, 16) > used
            if fresh and (self.nonce_uses is None or int(count, 16) <= self.nonce_uses):
                self.counts[nonce] = int(count, 16)
                return None
        return self.challenge(stale=True)


class Camera:
    """A running camera on a loopback port; as a context manager it is stopped on exit."""

    def __init__(
        self,
        user: str = "operator",
        password: str = "canary-password",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.logins = Logins(user, password)
        self.state = State()
        self.apis = Apis(self.state)
        #: Every request that came with a good login: method and target.
        self.requests: list[tuple[str, str]] = []
        #: Answers that replace the next ones, in order.
        self.instead: list[Reply] = []
        camera = self

        class Handler(_Handler):
            owner = camera

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def given(self, **more: Any) -> dict[str, Any]:
        """The parameters that reach this camera, and what else is given."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "scheme": "http",
            "username": self.logins.user,
            "password": self.logins.password,
            **more,
        }


class _Handler(BaseHTTPRequestHandler):
    owner: Camera
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written to the terminal of the tests."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        camera = self.owner
        challenge = camera.logins.check(self.command, self.path, self.headers.get("authorization"))
        if challenge is not None:
            self._send(
                Reply(401, "text/html", b"<html>401</html>", {"WWW-Authenticate": challenge})
            )
            return
        camera.requests.append((self.command, self.path))
        if camera.instead:
            self._send(camera.instead.pop(0))
            return
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path == "/vapix/ws-data-stream":
            self._stream(query)
            return
        kind = self.headers.get("content-type", "")
        self._send(camera.apis.answer(self.command, unquote(parts.path), query, kind, body))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = True

    def _stream(self, query: dict[str, str]) -> None:
        """The event stream: a WebSocket (RFC 6455) with one configuration, then notifications."""
        key = self.headers.get("sec-websocket-key")
        if query != {"sources": "events"} or key is None:
            self._send(Reply(400, "text/plain", b"not a WebSocket"))
            return
        accept = hashlib.sha1((key + _WEBSOCKET).encode(), usedforsecurity=False).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept).decode())
        self.end_headers()
        self.close_connection = True
        call = orjson.loads(self._frame())
        answer, events = self.owner.apis.configure_events(call)
        for document in (answer, *events):
            self._write(orjson.dumps(document))
        # Until the client closes or goes away.
        while self._frame():
            continue

    def _frame(self) -> bytes:
        """The payload of the next text frame; empty at a close frame or the end."""
        head = self.rfile.read(2)
        if len(head) < 2 or head[0] & 0x0F == 8:
            return b""
        length = head[1] & 0x7F
        if length == 126:
            length = struct.unpack(">H", self.rfile.read(2))[0]
        assert head[1] & 0x80, "a client masks its frames"
        mask = self.rfile.read(4)
        data = self.rfile.read(length)
        return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))

    def _write(self, data: bytes) -> None:
        size = (
            struct.pack("B", len(data)) if len(data) < 126 else struct.pack(">BH", 126, len(data))
        )
        self.wfile.write(b"\x81" + size + data)
        self.wfile.flush()
