"""A receiver of messages: an HTTP server that takes what Slack, Teams and webhooks are to get.

It refuses what the published formats do not allow, as the real receivers do, and keeps the rest.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import orjson

#: Of the HMAC that /signed demands.
KEY = "canary-hmac-key"

_SLACK = {"text", "channel", "username", "icon_emoji", "attachments", "blocks"}
_MESSAGE_CARD = {
    *("@type", "@context", "summary", "title", "text", "themeColor", "sections"),
    "potentialAction",
}
_ADAPTIVE = "application/vnd.microsoft.card.adaptive"


@dataclass
class Message:
    """One message that was taken."""

    at: float
    path: str
    method: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)


Response = tuple[int, str]


def slack(document: Any) -> Response:
    """Slack, "Sending messages using incoming webhooks" and its list of errors."""
    if not isinstance(document, dict) or set(document) - _SLACK:
        return 400, "invalid_payload"
    if not document.get("text") and not document.get("blocks"):
        return 400, "no_text"
    blocks = document.get("blocks", [])
    if len(blocks) > 50 or any(not isinstance(one.get("type"), str) for one in blocks):
        return 400, "invalid_blocks"
    return 200, "ok"


def message_card(document: Any) -> Response:
    """Microsoft, "Legacy actionable message card reference"."""
    bad = 400, "Bad payload received by generic incoming webhook."
    if not isinstance(document, dict) or set(document) - _MESSAGE_CARD:
        return bad
    if (
        document.get("@type") != "MessageCard"
        or "schema.org/extensions" not in document["@context"]
    ):
        return bad
    if not document.get("summary") and not document.get("text"):
        return 400, "Summary or Text is required."
    actions = document.get("potentialAction", [])
    return (200, "1") if all("@type" in one and "name" in one for one in actions) else bad


def adaptive_card(document: Any) -> Response:
    """Microsoft, "Create incoming webhooks with Workflows"; Adaptive Cards schema 1.4."""
    bad = 400, "Adaptive card could not be read."
    if not isinstance(document, dict) or document.get("type") != "message":
        return bad
    (attachment,) = document["attachments"]
    card = attachment["content"]
    if attachment["contentType"] != _ADAPTIVE or card.get("type") != "AdaptiveCard":
        return bad
    elements = [*card["body"], *card.get("actions", [])]
    return (202, "") if card.get("version") and all("type" in one for one in elements) else bad


_SHAPES = {"/slack": slack, "/connector": message_card, "/workflow": adaptive_card}


@dataclass
class Hooks:
    """A running receiver; `instead` replaces the next answers: status and headers."""

    taken: list[Message] = field(default_factory=list)
    instead: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: int = 0
    #: Seconds before every answer.
    slow: float = 0.0

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
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

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"


class _Handler(BaseHTTPRequestHandler):
    owner: Hooks

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written to the terminal of the tests."""

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def do_PATCH(self) -> None:
        self._take()

    def do_DELETE(self) -> None:
        self._take()

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        hooks = self.owner
        hooks.requests += 1
        if hooks.slow:
            time.sleep(hooks.slow)
        if hooks.instead:
            status, headers = hooks.instead.pop(0)
            self._answer(status, "", headers)
            return
        status, said = self._respond(body)
        if status < 300:
            headers = {name.lower(): value for name, value in self.headers.items()}
            hooks.taken.append(Message(time.monotonic(), self.path, self.command, headers, body))
        self._answer(status, said, {})

    def _respond(self, body: bytes) -> Response:
        if self.path == "/plain":
            return 200, "y" * 900
        if self.path == "/signed":
            wanted = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
            given = self.headers.get("x-signature-256", "")
            good = hmac.compare_digest(given, f"sha256={wanted}")
            return (202, "accepted") if good else (403, "wrong signature")
        shape = _SHAPES.get(self.path)
        if shape is None or self.command != "POST":
            return 404, "no_service"
        if not self.headers.get("content-type", "").startswith("application/json"):
            return 400, "invalid_payload"
        return shape(orjson.loads(body))

    def _answer(self, status: int, said: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())
