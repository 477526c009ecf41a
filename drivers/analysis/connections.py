"""TCP connections out of packets: who opened them, how they ended, both directions; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.analysis.direction import Direction
from drivers.analysis.findings import milliseconds, moment
from drivers.analysis.packets import ACK, RST, SYN, Packet, Segment

#: Connections of one analysis, and bytes kept of all of them.
MAX_CONNECTIONS: Final = 10_000
MAX_KEPT_BYTES: Final = 64 * 1024 * 1024

End = tuple[str, int]


@dataclass(slots=True)
class Connection:
    """One TCP connection; times are seconds since 1970."""

    client: End
    server: End
    start: float
    end: float
    from_client: Direction = field(default_factory=Direction)
    from_server: Direction = field(default_factory=Direction)
    syn_at: float | None = None
    syn_sequence: int | None = None
    syns: int = 0
    syn_ack_at: float | None = None
    handshake_rtt: float | None = None
    answered: bool = False
    reset_by: str | None = None

    @property
    def name(self) -> str:
        """Both ends, for a person."""
        return f"{self.client[0]}:{self.client[1]} -> {self.server[0]}:{self.server[1]}"

    @property
    def state(self) -> str:
        """`refused`, `unanswered`, `reset`, `closed`, `half_closed`, `open` or `partial`."""
        if self.syns and not self.answered:
            refused = self.reset_by == "server" and not self.from_server.payload_bytes
            return "refused" if refused else "unanswered"
        if self.reset_by is not None:
            return "reset"
        ends = self.from_client.finished + self.from_server.finished
        if ends:
            return "closed" if ends == 2 else "half_closed"
        return "open" if self.syns else "partial"

    def ends(self) -> dict[str, Any]:
        """The fields that name the connection in findings."""
        return {
            "client": self.client[0],
            "client_port": self.client[1],
            "server": self.server[0],
            "server_port": self.server[1],
            "started_at": moment(self.start),
            "duration_seconds": round(self.end - self.start, 6),
        }

    @property
    def rtt_ms(self) -> float | None:
        """SYN to the client's ACK, else the mean of the data's acknowledgements."""
        if self.handshake_rtt is not None:
            return milliseconds(self.handshake_rtt)
        samples = self.from_client.rtt + self.from_server.rtt
        return milliseconds(sum(samples) / len(samples)) if samples else None


class Connections:
    """Sorts packets into connections, in bounded memory."""

    def __init__(self, ports: frozenset[int] | None = None) -> None:
        """Only connections that touch one of these ports; all where None."""
        self._ports = ports
        self._live: dict[tuple[End, End], Connection] = {}
        self._kept = 0
        self.all: list[Connection] = []
        #: Packets of connections beyond the 10,000th.
        self.ignored_packets = 0

    def take(self, packets: Iterable[Packet]) -> None:
        """Take every TCP packet; others are ignored."""
        for packet in packets:
            segment = packet.segment
            if segment is None or (
                self._ports is not None
                and packet.source_port not in self._ports
                and packet.destination_port not in self._ports
            ):
                continue
            self._add(packet, segment)

    def _add(self, packet: Packet, segment: Segment) -> None:
        source = (packet.source, packet.source_port)
        destination = (packet.destination, packet.destination_port)
        connection = self._of(source, destination, packet, segment)
        if connection is None:
            self.ignored_packets += 1
            return
        connection.end = max(connection.end, packet.time)
        by_client = source == connection.client
        own = connection.from_client if by_client else connection.from_server
        other = connection.from_server if by_client else connection.from_client
        self._handshake(connection, packet, segment, by_client)
        before = len(own.data)
        if self._kept >= MAX_KEPT_BYTES:
            own.incomplete = True
        own.add(packet, segment, connection.handshake_rtt)
        self._kept += len(own.data) - before
        if segment.flags & ACK:
            other.acknowledged(segment.acknowledgement, packet.time)
        if segment.flags & RST and connection.reset_by is None:
            connection.reset_by = "client" if by_client else "server"

    def _of(
        self, source: End, destination: End, packet: Packet, segment: Segment
    ) -> Connection | None:
        key = (min(source, destination), max(source, destination))
        known = self._live.get(key)
        opening = segment.flags & SYN and not segment.flags & ACK
        # The same ports again after the end, or with another first number: a new connection.
        again = (
            opening
            and known is not None
            and segment.sequence != known.syn_sequence
            and (known.state in ("closed", "reset", "refused", "unanswered", "partial"))
        )
        if known is not None and not again:
            return known
        if len(self.all) >= MAX_CONNECTIONS:
            return None
        from_server = bool(segment.flags & SYN and segment.flags & ACK) or (
            not opening and source[1] < destination[1]
        )
        client, server = (destination, source) if from_server else (source, destination)
        made = Connection(client, server, packet.time, packet.time)
        self._live[key] = made
        self.all.append(made)
        return made

    @staticmethod
    def _handshake(known: Connection, packet: Packet, segment: Segment, by_client: bool) -> None:
        flags = segment.flags
        if flags & SYN and not flags & ACK and by_client:
            known.syns += 1
            known.syn_sequence = segment.sequence
            # The first one: the time of its repetitions is part of the handshake.
            known.syn_at = packet.time if known.syn_at is None else known.syn_at
        elif flags & SYN and flags & ACK and not by_client:
            known.answered = True
            known.syn_ack_at = packet.time
        elif (
            flags & ACK
            and not flags & RST
            and by_client
            and known.syn_at is not None
            and known.syn_ack_at is not None
            and known.handshake_rtt is None
        ):
            known.handshake_rtt = packet.time - known.syn_at
