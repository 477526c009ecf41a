"""HTTP/1 without TLS: requests with their responses, status codes, times; pure.

Only the heads are read; bodies are skipped by Content-Length or chunks (RFC 9112, 6.3). Cookies,
authorisation and query strings are left out of the findings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from drivers.analysis.connections import Connection, Connections
from drivers.analysis.direction import Direction
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
from drivers.analysis.packets import Packet

PORTS: Final = frozenset({80, 3128, 8000, 8008, 8080, 8081, 8888})
MAX_MESSAGES: Final = 20_000
_HEAD_BYTES: Final = 64 * 1024
_HEADERS: Final = 200
_REQUEST: Final = re.compile(rb"([A-Z][A-Z-]{2,15}) (\S{1,8192}) HTTP/(1\.[01])")
_STATUS: Final = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9]{2})(?: (.{0,200}))?")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]*\r\n")
_SLOW_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """One head and the position of its message in the stream."""

    first: bytes
    headers: dict[bytes, bytes]
    start: int
    end: int
    #: Bytes of the body that were captured; less than stated where the end is missing.
    body: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its response, if there is one."""

    row: dict[str, Any]
    status: int | None
    seconds: float | None


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every request with its response, counts by status, and what is unusual."""
    traffic, streams = Traffic(), Connections(options.ports or PORTS)
    streams.take(p for p in traffic.seen(packets, options) if p.protocol == "tcp")
    every: list[Exchange] = []
    anomalies = Anomalies()
    sessions = 0
    for one in streams.all:
        found = _exchanges(one, anomalies)
        sessions += bool(found)
        every.extend(found[: MAX_MESSAGES - len(every)])
    hosts: Counter[str] = Counter()
    paths: Counter[tuple[str, str]] = Counter()
    for item in every:
        count(hosts, item.row["host"] or item.row["server"])
        count(paths, (item.row["method"], item.row["path"]))
    took = [item.seconds for item in every if item.seconds is not None]
    return {
        **traffic.summary(),
        "session_count": sessions,
        "request_count": len(every),
        "answered": sum(item.status is not None for item in every),
        "methods": dict(Counter(item.row["method"] for item in every)),
        "status_codes": dict(Counter(str(i.status) for i in every if i.status is not None)),
        "response_time_min_ms": milliseconds(min(took, default=None)),
        "response_time_avg_ms": milliseconds(sum(took) / len(took) if took else None),
        "response_time_max_ms": milliseconds(max(took, default=None)),
        "hosts": top(hosts, min(options.limit, 50), "host", "requests"),
        "top_paths": top(paths, min(options.limit, 50), "method", "path", "requests"),
        "requests": [item.row for item in every[: options.limit]],
        "anomalies": anomalies.rows(),
    }


def _exchanges(one: Connection, anomalies: Anomalies) -> list[Exchange]:
    asked = [m for m in _messages(one.from_client, _REQUEST, None)]
    methods = [(_REQUEST.match(m.first) or [b"", b""])[1] for m in asked]
    answers = _messages(one.from_server, _STATUS, methods)
    final = [m for m in answers if not (_STATUS.match(m.first) or [b""] * 3)[2].startswith(b"1")]
    if not asked:
        if one.from_client.data and one.from_server.payload_bytes:
            anomalies.add("not_http", one.name, f"{one.name} does not speak HTTP/1")
        return []
    pairs = zip_longest(asked, final[: len(asked)])
    return [_exchange(one, request, answer, anomalies) for request, answer in pairs]


def _messages(
    side: Direction, first: re.Pattern[bytes], asked: list[bytes] | None
) -> list[Message]:
    """The messages of one direction; `asked` are the methods that responses answer, in order."""
    return list(_walk(bytes(side.data), first, asked, side.finished and not side.holes))


def _walk(
    data: bytes, first: re.Pattern[bytes], asked: list[bytes] | None, ended: bool
) -> Iterator[Message]:
    position, answered = 0, 0
    while position < len(data):
        end = data.find(b"\r\n\r\n", position, position + _HEAD_BYTES)
        line, _, rest = data[position : end if end >= 0 else position].partition(b"\r\n")
        matched = first.fullmatch(line)
        if end < 0 or matched is None:
            return
        headers = _headers(rest)
        body = end + 4
        bodiless = False
        if asked is not None:
            status = matched[2]
            method = asked[answered] if answered < len(asked) else b""
            bodiless = status.startswith(b"1") or status in (b"204", b"304") or method == b"HEAD"
            answered += not status.startswith(b"1")
            if status == b"101" or (method == b"CONNECT" and status.startswith(b"2")):
                yield Message(line, headers, position, body, 0, True)
                return  # What follows is another protocol.
        length, complete = (
            (0, True) if bodiless else _body(data, body, headers, asked is not None, ended)
        )
        yield Message(line, headers, position, body + length, length, complete)
        if not complete:
            return
        position = body + length


def _headers(text: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for line in text.split(b"\r\n")[:_HEADERS]:
        name, separator, value = line.partition(b":")
        if separator:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _body(
    data: bytes, start: int, headers: dict[bytes, bytes], response: bool, ended: bool
) -> tuple[int, bool]:
    """Bytes of the body in the stream, and whether all of it is there."""
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        return _chunked(data, start)
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and len(stated) < 16:
        return min(int(stated), len(data) - start), start + int(stated) <= len(data)
    if response:
        return len(data) - start, ended  # Up to the end of the connection.
    return 0, True


def _chunked(data: bytes, start: int) -> tuple[int, bool]:
    position = start
    while found := _CHUNK.match(data, position):
        size = int(found[1], 16)
        if size == 0:
            end = data.find(b"\r\n\r\n", found.end() - 2)
            return (end + 4 - start, True) if end >= 0 else (len(data) - start, False)
        position = found.end() + size + 2
        if position > len(data):
            break
    return len(data) - start, False


def _exchange(
    one: Connection, request: Message, answer: Message | None, anomalies: Anomalies
) -> Exchange:
    found = _REQUEST.match(request.first)
    method, target, version = found.groups() if found else (b"", b"", b"")
    state = _STATUS.match(answer.first) if answer else None
    status = int(state[2]) if state else None
    asked_at = one.from_client.time_at(request.start)
    sent_at = one.from_client.time_at(max(request.start, request.end - 1))
    answered_at = one.from_server.time_at(answer.start) if answer else None
    seconds = None if answered_at is None or sent_at is None else max(0.0, answered_at - sent_at)
    path = readable(target.split(b"?")[0])
    headers = answer.headers if answer else {}
    row = {
        "at": moment(asked_at),
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
    return Exchange(row, status, seconds)
