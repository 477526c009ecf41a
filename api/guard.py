"""Guard: what holds for every request, whatever answers it: limits, headers, a log line, metrics.

It stands around the application, so also a path that does not exist, or a route that fails, is
answered as it should be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fastapi import Request
from prometheus_client import Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from api.caller import Caller
from api.problems import Problem, response
from runtime import clock
from runtime.logs import Log

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The paths of webhooks: whoever sends there has no token.
HOOKS_BEGIN: Final = "/v1/hooks/"
#: A plan may have 1 MiB, its inputs stand beside it.
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
#: How long a body may take to arrive, an answer to begin, and a client to take a part of it.
BODY_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 60.0
SEND_SECONDS: Final = 30.0
#: Requests whose answer has not begun; a stream, once begun, does not count.
MAX_REQUESTS: Final = 100

#: The same of webhooks, which are bounded by themselves: anybody may send there, and must neither
#: take the memory of the process nor keep out those who have a token.
MAX_HOOK_BYTES: Final = 512 * 1024
HOOK_SECONDS: Final = 10.0
MAX_DELIVERIES: Final = 250

#: What pages may load: from here only, and nothing that stands in the page itself.
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Only what never changes under its name says otherwise itself.
    "Cache-Control": "no-store",
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_REQUESTS: Final = Counter(
    "runstream_api_requests_total",
    "Answers of the API, by the template of their path",
    ["method", "route", "status"],
)
_SECONDS: Final = Histogram(
    "runstream_api_request_seconds",
    "Seconds until an answer of the API began",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
_ACTIVE: Final = Gauge("runstream_api_requests_active", "Requests that are not answered whole yet")


class _Bounds(NamedTuple):
    """What one request may take, and how many of its kind wait at once."""

    body_bytes: int
    body_seconds: float
    requests: int


def _bounds(path: str) -> _Bounds:
    if path.startswith(HOOKS_BEGIN):
        return _Bounds(MAX_HOOK_BYTES, HOOK_SECONDS, MAX_DELIVERIES)
    return _Bounds(MAX_BODY_BYTES, BODY_SECONDS, MAX_REQUESTS)


class _TooLarge(HTTPException):
    """The body has more bytes than are allowed."""

    def __init__(self, most: int) -> None:
        super().__init__(413, f"the body has more than {most // 1024} KiB: send less")


class _TooSlow(HTTPException):
    """The body does not arrive."""

    def __init__(self, seconds: float) -> None:
        super().__init__(408, f"the body did not arrive within {seconds:.0f} s")


@dataclass(slots=True)
class _Exchange:
    """One request and what is known of its answer."""

    scope: Scope
    receive: Receive
    send: Send
    guard: Guard
    bounds: _Bounds
    #: Those whose answer has not begun, this one among them.
    waiting: set[_Exchange]
    begun_at: float = field(default_factory=clock.monotonic)
    status: int | None = None
    answered_at: float | None = None
    _body: int = 0
    _complete: bool = False
    _deadline: asyncio.Timeout | None = None

    async def run(self, application: Application) -> None:
        """Answer it; what goes wrong before the answer has begun becomes a problem."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS) as self._deadline:
                await application(self.scope, self._receive, self._send)
        except TimeoutError:
            told = f"there was no answer within {ANSWER_SECONDS:.0f} s: try again, or ask for less"
            await self._tell(Problem(503, "too_slow", told))
        except Exception:
            self.guard.log.exception("a request failed", path=self.scope["path"])
            told = "the API failed on this request; its log says why"
            await self._tell(Problem(500, "internal", told))

    async def _tell(self, problem: Problem) -> None:
        """Answer with a problem; where an answer has begun the connection can only end."""
        if self.status is None:
            problem.headers["Connection"] = "close"
            await response(problem, Request(self.scope))(self.scope, self.receive, self._send)

    async def _receive(self) -> Message:
        if self._complete:
            return await self.receive()
        try:
            async with asyncio.timeout(self.bounds.body_seconds):
                message = await self.receive()
        except TimeoutError:
            raise _TooSlow(self.bounds.body_seconds) from None
        self._complete = message["type"] != "http.request" or not message.get("more_body")
        self._body += len(message.get("body", b""))
        if self._body > self.bounds.body_bytes:
            raise _TooLarge(self.bounds.body_bytes)
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered_at = clock.monotonic()
            self.waiting.discard(self)
            if self._deadline is not None and not self._deadline.expired():
                self._deadline.reschedule(None)
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        async with asyncio.timeout(SEND_SECONDS):
            await self.send(message)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class Guard:
    """Around the application: every request passes it."""

    def __init__(self, application: Application, log: Log) -> None:
        """`application` is the rest of the API."""
        self._application = application
        self.log = log
        #: Requests whose answer has not begun, and deliveries of webhooks.
        self.waiting: set[_Exchange] = set()
        self.deliveries: set[_Exchange] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        bounds = _bounds(path)
        waiting = self.deliveries if path.startswith(HOOKS_BEGIN) else self.waiting
        exchange = _Exchange(scope, receive, send, self, bounds, waiting)
        full = len(waiting) >= bounds.requests
        waiting.add(exchange)
        with _ACTIVE.track_inprogress():
            try:
                await exchange.run(_refuse(full, scope, bounds) or self._application)
            finally:
                waiting.discard(exchange)
                self._note(exchange)

    def _note(self, exchange: _Exchange) -> None:
        """The log line of a request, without its query, and its metrics."""
        scope, status = exchange.scope, exchange.status
        method = scope["method"] if scope["method"] in _METHODS else "other"
        # The template: an id in a label would make a series per execution.
        template = getattr(scope.get("route"), "path", None) or "other"
        if scope["path"].startswith("/v1/") and template != "other":
            template = f"/v1{template}"
        said = "closed" if status is None else str(status)
        _REQUESTS.labels(method, template, said).inc()
        seconds = (exchange.answered_at or clock.monotonic()) - exchange.begun_at
        _SECONDS.labels(method, template).observe(seconds)
        caller = scope.get("state", {}).get("caller")
        self.log.info(
            "request",
            method=method,
            path=scope["path"][:200],
            status=status,
            seconds=round(seconds, 4),
            actor=caller.actor if isinstance(caller, Caller) else None,
            tenant=caller.tenant if isinstance(caller, Caller) else None,
        )


def _refuse(full: bool, scope: Scope, bounds: _Bounds) -> Application | None:
    """What answers instead of the application, where it must not be asked."""
    given = Headers(scope=scope).get("content-length", "0")
    if full:
        told = f"{bounds.requests} requests wait for their answers already: try again in a second"
        problem = Problem(503, "busy", told, headers={"Retry-After": "1"})
    elif not given.isdigit() or len(given) > 18 or int(given) > bounds.body_bytes:
        problem = Problem(413, "too_large", _TooLarge(bounds.body_bytes).detail)
    else:
        return None

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        problem.headers["Connection"] = "close"
        await response(problem, Request(scope))(scope, receive, send)

    return refuse
