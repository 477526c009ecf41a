"""DNS: questions with their answers, how long they took, what failed; over UDP and TCP; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.analysis.connections import Connections
from drivers.analysis.dns_message import Damaged, Message, read_message
from drivers.analysis.findings import (
    Anomalies,
    Options,
    Traffic,
    count,
    milliseconds,
    moment,
    top,
)
from drivers.analysis.packets import Packet

#: 53 and multicast DNS.
PORTS: Final = frozenset({53, 5353})
MAX_QUERIES: Final = 20_000
#: Longer than names that people and programs use; tunnels fill names up to 253.
_LONG_NAME: Final = 100
_TYPES: Final = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
    35: "NAPTR", 41: "OPT", 43: "DS", 46: "RRSIG", 48: "DNSKEY", 52: "TLSA", 64: "SVCB",
    65: "HTTPS", 252: "AXFR", 255: "ANY", 257: "CAA",
}  # fmt: skip
_CODES: Final = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED",
    9: "NOTAUTH",
}  # fmt: skip


@dataclass(slots=True)
class Query:
    """One question; `code` is None while there is no response."""

    time: float
    client: str
    server: str
    name: str
    kind: str
    over: str
    repeats: int = 0
    code: str | None = None
    latency: float | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)
    truncated: bool = False
    authoritative: bool = False


class _Queries:
    """Questions waiting for their answers, and all of them."""

    def __init__(self) -> None:
        self.all: list[Query] = []
        self.waiting: dict[tuple[Any, ...], Query] = {}
        self.malformed = 0
        self.unasked = 0
        self.ignored = 0
        self.anomalies = Anomalies()

    def take(self, time: float, source: Any, destination: Any, data: bytes, over: str) -> None:
        try:
            message = read_message(data)
        except Damaged:
            self.malformed += 1
            return
        if message.response:
            self._answer(time, source, destination, message)
            return
        for name, kind in message.questions[:1]:
            key = (source, destination[0], message.ident, name, kind)
            known = self.waiting.get(key)
            if known is not None:
                known.repeats += 1
            elif len(self.all) >= MAX_QUERIES:
                self.ignored += 1
            else:
                asked = Query(time, source[0], destination[0], name, _type(kind), over)
                self.waiting[key] = asked
                self.all.append(asked)
            if len(name) > _LONG_NAME:
                domain = ".".join(name.split(".")[-2:])
                self.anomalies.add(
                    "long_name", f"{source[0]} {domain}", f"{source[0]} asks for very long names"
                )

    def _answer(self, time: float, source: Any, destination: Any, message: Message) -> None:
        for name, kind in message.questions[:1]:
            query = self.waiting.pop((destination, source[0], message.ident, name, kind), None)
            if query is None:
                # Also a second answer to one question: one of the two may be forged.
                self.unasked += 1
                text = f"{source[0]} answered {name} without a question of {destination[0]}"
                self.anomalies.add("unasked_answer", source[0], text)
                continue
            query.code = _CODES.get(message.code, str(message.code))
            query.latency = time - query.time
            query.truncated = message.truncated
            query.authoritative = message.authoritative
            query.answers = [
                {"name": one.name, "type": _type(one.kind), "ttl": one.ttl, "data": one.text}
                for one in message.answers
            ]


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every question with its answer, counts, latencies and what is unusual."""
    ports = options.ports or PORTS
    traffic, queries, streams = Traffic(), _Queries(), Connections(ports)
    for packet in traffic.seen(packets, options):
        if not {packet.source_port, packet.destination_port} & ports:
            continue
        if packet.protocol == "udp" and packet.payload:
            source = (packet.source, packet.source_port)
            destination = (packet.destination, packet.destination_port)
            queries.take(packet.time, source, destination, packet.payload, "udp")
        elif packet.protocol == "tcp":
            streams.take([packet])
    whole = True
    for one in streams.end():
        for own, other, side in (
            (one.client, one.server, one.from_client),
            (one.server, one.client, one.from_server),
        ):
            read = 0
            for offset, data in _framed(bytes(side.data)):
                queries.take(side.time_at(offset) or one.start, own, other, data, "tcp")
                read = offset + 2 + len(data)
            whole &= read == len(side.data)
    return {
        **traffic.summary(),
        "complete": whole and streams.complete and not queries.ignored,
        **_findings(queries, options.limit),
    }


def _framed(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Messages over TCP: two bytes of length before each (RFC 1035, 4.2.2)."""
    position = 0
    while position + 2 <= len(data):
        length = int.from_bytes(data[position : position + 2], "big")
        if position + 2 + length > len(data):
            return
        yield position, data[position + 2 : position + 2 + length]
        position += 2 + length


def _findings(queries: _Queries, limit: int) -> dict[str, Any]:
    every = queries.all
    names: Counter[str] = Counter()
    servers: Counter[str] = Counter()
    for query in every:
        count(names, query.name)
        count(servers, query.server)
    took = [query.latency for query in every if query.latency is not None]
    for query in every:
        subject = f"{query.server} {query.name}"
        if query.code is None:
            queries.anomalies.add("unanswered", subject, f"{query.server} gave no answer")
        elif query.code in ("SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"):
            text = f"{query.server} answered {query.code} for {query.name}"
            queries.anomalies.add(query.code.lower(), subject, text)
    return {
        "query_count": len(every),
        "answered": len(took),
        "unanswered": len(every) - len(took),
        "retried": sum(query.repeats for query in every),
        "unasked_answers": queries.unasked,
        "malformed": queries.malformed,
        "ignored_queries": queries.ignored,
        "response_codes": dict(Counter(q.code for q in every if q.code is not None)),
        "record_types": dict(Counter(query.kind for query in every)),
        "latency_min_ms": milliseconds(min(took, default=None)),
        "latency_avg_ms": milliseconds(sum(took) / len(took) if took else None),
        "latency_max_ms": milliseconds(max(took, default=None)),
        "top_names": top(names, min(limit, 50), "name", "queries"),
        "servers": top(servers, min(limit, 50), "server", "queries"),
        "queries": [_row(query) for query in every[:limit]],
        "anomalies": queries.anomalies.rows(),
    }


def _row(query: Query) -> dict[str, Any]:
    return {
        "at": moment(query.time),
        "client": query.client,
        "server": query.server,
        "name": query.name,
        "type": query.kind,
        "transport": query.over,
        "status": query.code,
        "latency_ms": milliseconds(query.latency),
        "authoritative": query.authoritative,
        "truncated": query.truncated,
        "retries": query.repeats,
        "answers": query.answers,
    }


def _type(number: int) -> str:
    return _TYPES.get(number, f"TYPE{number}")
