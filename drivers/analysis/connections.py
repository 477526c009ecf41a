"""TCP connections out of packets: who opened them, how they ended, both directions; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.analysis.direction import Direction
from drivers.analysis.findings import milliseconds, moment
from drivers.analysis.packets import ACK, RST, SYN, Packet, Segment
from drivers.analysis.repetitions import judge

#: Connections of one analysis, and bytes kept of all of them.
MAX_CONNECTIONS: Final = 10_000
MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
_WHOLE: Final = 1 << 32

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
    #: The newest one: from there on the time of the handshake is a time without repetitions.
    last_syn_at: float | None = None
    round_trip: float | None = None
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

    @property
    def complete(self) -> bool:
        """Whether all bytes of both sides were kept, none beyond the limit and none missing."""
        return not (self.from_client.incomplete or self.from_server.incomplete)

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

    def __init__(
        self,
        ports: frozenset[int] | None = None,
        follow: Callable[[Connection], None] | None = None,
        begins: bytes = b"",
    ) -> None:
        """Only connections that touch one of these ports; all where None.

        With `begins` also those of other ports whose first bytes are these. `follow` is called with
        each new connection, to put followers into its directions.
        """
        self._ports = ports
        self._follow = follow
        self._begins = begins
        self._live: dict[tuple[End, End], Connection] = {}
        self._kept = 0
        self.all: list[Connection] = []
        #: Packets of connections beyond the 10,000th.
        self.ignored_packets = 0

    def take(self, packets: Iterable[Packet]) -> None:
        """Take every TCP packet; others are ignored."""
        for packet in packets:
            if packet.segment is not None and self._wanted(packet):
                self._add(packet, packet.segment)

    def end(self) -> list[Connection]:
        """All connections, in the order of their beginning, after the last packet."""
        for one in self.all:
            one.from_client.end()
            one.from_server.end()
        return self.all

    @property
    def complete(self) -> bool:
        """Whether every connection was taken, and everything that it carried."""
        return not self.ignored_packets and all(one.complete for one in self.all)

    def _wanted(self, packet: Packet) -> bool:
        ports = {packet.source_port, packet.destination_port}
        if self._ports is None or ports & self._ports:
            return True
        if not self._begins:
            return False
        ends = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        return packet.payload.startswith(self._begins) or (min(ends), max(ends)) in self._live

    def _add(self, packet: Packet, segment: Segment) -> None:
        source = (packet.source, packet.source_port)
        destination = (packet.destination, packet.destination_port)
        connection = self._of(source, destination, segment, packet.time)
        if connection is None:
            self.ignored_packets += 1
            return
        connection.end = max(connection.end, packet.time)
        by_client = source == connection.client
        own = connection.from_client if by_client else connection.from_server
        other = connection.from_server if by_client else connection.from_client
        self._handshake(connection, packet, segment, by_client)
        if own.initial is None:
            own.initial = (segment.sequence - (not segment.flags & SYN)) % _WHOLE
        if other.initial is None and segment.flags & ACK:
            other.initial = (segment.acknowledgement - 1) % _WHOLE
        judged = judge(own.sender, other.sender, packet, segment, connection.round_trip)
        if segment.flags & ACK:
            # First, so that what is answered here was handed on before its answer.
            other.acknowledged(segment.acknowledgement, packet.time)
        before = len(own.data)
        if self._kept >= MAX_KEPT_BYTES:
            own.incomplete = True
        own.add(packet, segment, judged)
        self._kept += len(own.data) - before
        if segment.flags & RST and connection.reset_by is None:
            connection.reset_by = "client" if by_client else "server"

    def _of(
        self, source: End, destination: End, segment: Segment, time: float
    ) -> Connection | None:
        key = (min(source, destination), max(source, destination))
        known = self._live.get(key)
        opening = bool(segment.flags & SYN and not segment.flags & ACK)
        if known is not None and not (opening and _is_another(known, source, segment)):
            return known
        if len(self.all) >= MAX_CONNECTIONS:
            return None
        from_server = bool(segment.flags & SYN and segment.flags & ACK) or (
            not opening and source[1] < destination[1]
        )
        client, server = (destination, source) if from_server else (source, destination)
        made = Connection(client, server, time, time)
        if self._follow is not None:
            self._follow(made)
        self._live[key] = made
        self.all.append(made)
        return made

    @staticmethod
    def _handshake(known: Connection, packet: Packet, segment: Segment, by_client: bool) -> None:
        flags = segment.flags
        if flags & SYN and not flags & ACK and by_client:
            known.syns += 1
            # The first one: the time of its repetitions is part of the handshake.
            known.syn_at = packet.time if known.syn_at is None else known.syn_at
            known.last_syn_at = packet.time
        elif flags & SYN and flags & ACK and not by_client:
            known.answered = True
            known.syn_ack_at = packet.time
        elif flags & ACK and not flags & (SYN | RST) and known.last_syn_at is not None:
            if known.round_trip is None:
                known.round_trip = packet.time - known.last_syn_at
            if by_client and known.syn_ack_at is not None and known.handshake_rtt is None:
                known.handshake_rtt = packet.time - (known.syn_at or known.last_syn_at)


def _is_another(known: Connection, source: End, segment: Segment) -> bool:
    """Whether a SYN with the same addresses and ports opens another connection.

    It does with another first number, whether or not the end of the one before was captured.
    """
    own = known.from_client if source == known.client else known.from_server
    return own.initial is not None and own.initial != segment.sequence
