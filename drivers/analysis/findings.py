"""The parameters of every analysis, and the results that all of them share; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from drivers.analysis.packets import Packet

#: Different anomalies of one analysis, and subjects counted at most (bounded memory).
MAX_ANOMALIES: Final = 200
MAX_COUNTED: Final = 20_000
_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Options:
    """What to analyse: only these ports (None: the protocol's own), only this address."""

    ports: frozenset[int] | None = None
    address: str | None = None
    #: Entries of each list in the findings.
    limit: int = 100

    def takes(self, packet: Packet) -> bool:
        """Whether the packet is one of those to analyse."""
        return self.address is None or self.address in (packet.source, packet.destination)


def moment(seconds: float | None) -> str | None:
    """A Unix time as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as milliseconds, to the microsecond."""
    return None if seconds is None else round(seconds * 1_000, 3)


def readable(data: bytes, limit: int = _TEXT) -> str:
    """Text from packets for people: characters that are not printable become dots."""
    text = data[:limit].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "." for character in text)


def top(counter: Counter[Any], limit: int, *names: str) -> list[dict[str, Any]]:
    """The most frequent entries as objects; a tuple fills all names but the last."""
    rows = []
    for key, count in counter.most_common(limit):
        values = key if isinstance(key, tuple) else (key,)
        rows.append(dict(zip(names, (*values, count), strict=True)))
    return rows


def count(counter: Counter[Any], key: Any, by: int = 1) -> None:
    """Count, but no further keys once there are 20,000."""
    if key in counter or len(counter) < MAX_COUNTED:
        counter[key] += by


@dataclass(slots=True)
class Anomalies:
    """Anomalies: each kind and subject once, with a count."""

    _found: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def add(self, kind: str, subject: str, message: str) -> None:
        """Count it; beyond 200 different ones nothing is added."""
        known = self._found.get((kind, subject))
        if known is not None:
            known["count"] += 1
        elif len(self._found) < MAX_ANOMALIES:
            entry = {"kind": kind, "subject": subject, "message": message[:_TEXT], "count": 1}
            self._found[kind, subject] = entry

    def rows(self) -> list[dict[str, Any]]:
        """All of them, in the order in which they were first seen."""
        return list(self._found.values())


@dataclass(slots=True)
class Traffic:
    """Counts over all packets of an analysis."""

    packets: int = 0
    bytes: int = 0
    first: float | None = None
    last: float | None = None
    fragments: int = 0
    cut: int = 0
    protocols: Counter[str] = field(default_factory=Counter)
    talkers: Counter[str] = field(default_factory=Counter)

    def seen(self, packets: Iterable[Packet], options: Options) -> Iterator[Packet]:
        """The packets to analyse; counts those that it yields."""
        for packet in packets:
            if options.takes(packet):
                self._add(packet)
                yield packet

    def _add(self, packet: Packet) -> None:
        self.packets += 1
        self.bytes += packet.length
        # Records of several queues may lie a little out of order in a file.
        self.first = packet.time if self.first is None else min(self.first, packet.time)
        self.last = packet.time if self.last is None else max(self.last, packet.time)
        self.fragments += packet.fragment
        self.cut += packet.payload_length > len(packet.payload)
        self.protocols[packet.protocol] += 1
        for address in {packet.source, packet.destination} - {""}:
            count(self.talkers, address, packet.length)

    def summary(self, limit: int = 10) -> dict[str, Any]:
        """The fields that every analysis begins with."""
        span = 0.0 if self.first is None or self.last is None else self.last - self.first
        return {
            "packets": self.packets,
            "bytes": self.bytes,
            "first_packet_at": moment(self.first),
            "last_packet_at": moment(self.last),
            "duration_seconds": round(span, 6),
            "fragments": self.fragments,
            "cut_packets": self.cut,
            "protocols": dict(self.protocols.most_common(50)),
            "top_talkers": top(self.talkers, limit, "address", "bytes"),
        }
