"""The health port: /healthz (the process runs), /readyz (it does its work), /metrics."""

from __future__ import annotations

import errno
import json
import socket
import sys
import threading
from collections import OrderedDict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from runtime.logs import Log
from runtime.settings import CommonSettings

#: The connection of a client that sends its request more slowly than this is closed.
_REQUEST_SECONDS: Final = 10.0
#: At once, each with a thread; for a further one the oldest is closed. Every program of a step can
#: connect, and must neither use up this process's threads nor keep its probers out.
CONNECTIONS: Final = 32

_READY = Gauge("runstream_ready", "Whether every part of the process works: 1, else 0")


class Health:
    """The health of this process: its parts report, the health port reads.

    A part that has not reported, or that reports why it cannot work, keeps the process unready.
    Safe to call from every thread.
    """

    def __init__(self, parts: tuple[str, ...]) -> None:
        """Start with every part unready."""
        self._lock = threading.Lock()
        self._waiting: dict[str, str] = dict.fromkeys(parts, "starting")
        self._dead: str | None = None
        _READY.set_function(lambda: self.is_ready)

    def ready(self, part: str) -> None:
        """The part works."""
        with self._lock:
            self._waiting.pop(part, None)

    def waiting(self, part: str, why: str) -> bool:
        """The part cannot work now; returns whether the reason is new, and worth a log line."""
        with self._lock:
            news = self._waiting.get(part) != why
            self._waiting[part] = why
            return news

    def dead(self, why: str) -> None:
        """The process cannot recover by itself: /healthz fails from now on."""
        with self._lock:
            self._dead = why

    @property
    def is_ready(self) -> bool:
        """Whether every part works."""
        with self._lock:
            return self._dead is None and not self._waiting

    def response(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status code and body for /healthz and /readyz."""
        with self._lock:
            if self._dead is not None:
                return 503, {"status": "dead", "why": self._dead}
            if path == "/readyz" and self._waiting:
                return 503, {"status": "waiting", "waiting": dict(self._waiting)}
            return 200, {"status": "ok"}


def serve(
    settings: CommonSettings, health: Health, log: Log, default_port: int = 0
) -> ThreadingHTTPServer | None:
    """Open the health port in a daemon thread; None where it is turned off.

    Raises OSError where the port that the settings name is taken. Where that is so of the default
    one, another process of its kind has it: the log says so, and this one goes on without.
    """
    port = default_port if settings.http_port is None else settings.http_port
    if not port:
        return None

    guard = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_SECONDS

        def do_GET(self) -> None:
            if self.path in ("/healthz", "/readyz"):
                status, body = health.response(self.path)
                self._send(status, "application/json", json.dumps(body).encode())
            elif self.path == "/metrics":
                self._send(200, CONTENT_TYPE_LATEST, generate_latest())
            else:
                self._send(404, "text/plain", b"not found\n")

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Scrapes are not logged."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        #: With the default of 5 a burst makes further clients wait for a second.
        request_queue_size = 4 * CONNECTIONS
        #: Those that are open, the oldest first; each is added by the thread that accepts.
        connections: ClassVar[OrderedDict[socket.socket, None]] = OrderedDict()

        def process_request(self, request: Any, client_address: Any) -> None:
            """Serve it in a thread of its own, and close the oldest connection beyond the limit."""
            with guard:
                self.connections[request] = None
                oldest = next(iter(self.connections))
                if len(self.connections) > CONNECTIONS:
                    # Its thread sees the end, and closes the descriptor.
                    with suppress(OSError):
                        oldest.shutdown(socket.SHUT_RDWR)
                    del self.connections[oldest]
            super().process_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            """The thread of a connection is done with it."""
            with guard:
                self.connections.pop(request, None)
            super().shutdown_request(request)

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that closes early is no error; the base class would print a traceback."""
            if not isinstance(sys.exception(), OSError):
                log.error("the health port failed", exc_info=True)

    try:
        server = Server((settings.http_host, port), Handler)
    except OSError as error:
        if settings.http_port is not None or error.errno != errno.EADDRINUSE:
            raise
        log.warning("no health port and no metrics", taken=port, remedy="set RUNSTREAM_HTTP_PORT")
        return None
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
