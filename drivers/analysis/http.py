"""HTTP/1 without TLS: requests with their responses, status codes, times; pure.

Cookies, authorisation and query strings are left out of the findings.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from drivers.analysis.connections import Connection, Connections
from drivers.analysis.findings import (
    Anomalies,
    Options,
    Traffic,
    count,
    milliseconds,
    moment,
    readable,
    top,
)
from drivers.analysis.http_reader import REQUEST, STATUS, Message, Reader
from drivers.analysis.packets import Packet

PORTS: Final = frozenset({80, 3128, 8000, 8008, 8080, 8081, 8888})
MAX_MESSAGES: Final = 20_000
_SLOW_SECONDS: Final = 1.0


@dataclass(slots=True)
class Exchange:
    """One request and its response, if there is one."""

    connection: Connection
    request: Message
    answer: Message | None = None


@dataclass(slots=True)
class _Exchanges:
    """All exchanges, in the order of their requests."""

    all: list[Exchange] = field(default_factory=list)
    ignored: int = 0
    unasked: int = 0

    def follow(self, connection: Connection) -> None:
        """Put readers into both directions of a new connection."""
        _Talk(connection, self)


class _Talk:
    """The requests of one connection that wait for their responses, oldest first."""

    def __init__(self, connection: Connection, every: _Exchanges) -> None:
        self._connection = connection
        self._every = every
        self._waiting: deque[Exchange] = deque()
        self._asks = Reader(REQUEST, self._asked)
        self._answers = Reader(STATUS, self._answered)
        connection.from_client.follower = self._asks
        connection.from_server.follower = self._answers

    def _asked(self, message: Message) -> Literal["body", "no_body", "over"]:
        if len(self._every.all) >= MAX_MESSAGES:
            self._every.ignored += 1
        else:
            exchange = Exchange(self._connection, message)
            self._every.all.append(exchange)
            self._waiting.append(exchange)
        return "body"

    def _answered(self, message: Message) -> Literal["body", "no_body", "over"]:
        found = STATUS.fullmatch(message.line)
        status = found[2] if found else b""
        if status.startswith(b"1") and status != b"101":
            return "no_body"
        if not self._waiting:
            # Its request was sent before the capture began, or was not captured.
            self._every.unasked += not self._every.ignored
            method = b""
        else:
            exchange = self._waiting.popleft()
            exchange.answer = message
            method = exchange.request.line.split(b" ", 1)[0]
        if status == b"101" or (method == b"CONNECT" and status.startswith(b"2")):
            self._asks.mode = "over"
            return "over"  # What follows is another protocol.
        return "no_body" if status in (b"204", b"304") or method == b"HEAD" else "body"


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every request with its response, counts by status, and what is unusual."""
    exchanges, traffic = _Exchanges(), Traffic()
    streams = Connections(options.ports, exchanges.follow)
    streams.take(p for p in traffic.seen(packets, options) if p.protocol == "tcp")
    anomalies = Anomalies()
    for one in streams.end():
        _close(one, options.ports or PORTS, anomalies)
    every = exchanges.all
    rows = [_row(one, anomalies) for one in every]
    hosts: Counter[str] = Counter()
    paths: Counter[tuple[str, str]] = Counter()
    for row in rows:
        count(hosts, row["host"] or row["server"])
        count(paths, (row["method"], row["path"]))
    took = [ms for row in rows if (ms := row["response_time_ms"]) is not None]
    states = [row["status"] for row in rows if row["status"] is not None]
    return {
        **traffic.summary(),
        "complete": streams.complete
        and not exchanges.ignored
        and all(row["complete"] for row in rows),
        "session_count": len({id(one.connection) for one in every}),
        "request_count": len(every),
        "ignored_requests": exchanges.ignored,
        "unasked_answers": exchanges.unasked,
        "answered": len(states),
        "methods": dict(Counter(row["method"] for row in rows)),
        "status_codes": dict(Counter(str(status) for status in states)),
        "response_time_min_ms": min(took, default=None),
        "response_time_avg_ms": round(sum(took) / len(took), 3) if took else None,
        "response_time_max_ms": max(took, default=None),
        "hosts": top(hosts, min(options.limit, 50), "host", "requests"),
        "top_paths": top(paths, min(options.limit, 50), "method", "path", "requests"),
        "requests": rows[: options.limit],
        "anomalies": anomalies.rows(),
    }


def _close(one: Connection, ports: frozenset[int], anomalies: Anomalies) -> None:
    asks, answers = one.from_client.follower, one.from_server.follower
    if not isinstance(asks, Reader) or not isinstance(answers, Reader):
        return
    asks.end()
    answers.end()
    if one.from_server.finished:
        answers.closed()
    silent = not asks.told and not answers.told
    if silent and asks.strange and one.from_server.payload_bytes and one.server[1] in ports:
        anomalies.add("not_http", one.name, f"{one.name} does not speak HTTP/1")


def _row(exchange: Exchange, anomalies: Anomalies) -> dict[str, Any]:
    one, request, answer = exchange.connection, exchange.request, exchange.answer
    found = REQUEST.match(request.line)
    method, target, version = found.groups() if found else (b"", b"", b"")
    state = STATUS.match(answer.line) if answer else None
    status = int(state[2]) if state else None
    seconds = max(0.0, answer.begun - request.ended) if answer else None
    path = readable(target.split(b"?")[0])
    headers = answer.headers if answer else {}
    row = {
        "at": moment(request.begun),
        "client": one.client[0],
        "server": one.server[0],
        "server_port": one.server[1],
        "method": method.decode("ascii", "replace"),
        "host": readable(request.headers.get(b"host", b"")) or None,
        "path": path,
        "version": version.decode("ascii", "replace"),
        "user_agent": readable(request.headers.get(b"user-agent", b"")) or None,
        "request_body_bytes": request.body,
        "status": status,
        "reason": readable(state[3]) if state and state[3] else None,
        "content_type": readable(headers.get(b"content-type", b"")) or None,
        "server_software": readable(headers.get(b"server", b"")) or None,
        "response_body_bytes": answer.body if answer else None,
        "complete": bool(answer and answer.complete and request.complete),
        "response_time_ms": milliseconds(seconds),
    }
    server = f"{one.server[0]}:{one.server[1]}"
    if status is None:
        anomalies.add("unanswered", f"{server} {path}", f"{server} did not answer {path}")
    elif status >= 500:
        anomalies.add("server_error", f"{server} {path}", f"{server} answered {status} for {path}")
    if request.headers.get(b"authorization", b"").lower().startswith(b"basic"):
        anomalies.add("cleartext_login", server, f"a password crosses the network to {server}")
    if seconds is not None and seconds > _SLOW_SECONDS:
        anomalies.add("slow", f"{server} {path}", f"{server} took {seconds:.1f} s for {path}")
    return row
