"""One direction of a TCP connection: its bytes in order, its losses and repetitions; pure.

Sequence numbers are taken relative to the first byte, modulo 2**32 (RFC 9293). A segment that
fills a hole is a reordering if it comes within the round trip time of the segment before it, else a
retransmission; a segment already seen is a retransmission, unless it is a keep-alive.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from drivers.analysis.packets import FIN, RST, SYN, Packet, Segment

#: Of the beginning of a direction, and of segments that wait for a hole to be filled.
KEEP_BYTES: Final = 256 * 1024
_MARKS: Final = 4_096
_WAITING: Final = 256
_REORDER_SECONDS: Final = 0.003
_HALF: Final = 1 << 31
_WHOLE: Final = 1 << 32


@dataclass(slots=True)
class Direction:
    """What one side sent."""

    packets: int = 0
    #: Payload on the wire, repetitions included.
    payload_bytes: int = 0
    retransmissions: int = 0
    out_of_order: int = 0
    duplicate_acks: int = 0
    zero_windows: int = 0
    keep_alives: int = 0
    finished: bool = False
    reset: bool = False
    #: The beginning, as far as it is without a hole.
    data: bytearray = field(default_factory=bytearray)
    #: Something is missing in `data`, or came after its end.
    incomplete: bool = False
    rtt: list[float] = field(default_factory=list)
    _base: int | None = None
    _next: int = 0
    _highest: int = 0
    _overtaken: float = 0.0
    _marks: list[tuple[int, float]] = field(default_factory=list)
    _waiting: dict[int, tuple[bytes, int, float]] = field(default_factory=dict)
    _timed: tuple[int, float] | None = None
    _last_ack: tuple[int, int] | None = None

    def add(self, packet: Packet, segment: Segment, rtt: float | None) -> None:
        """Take the next packet of this direction; `rtt` is that of the handshake, if known."""
        self.packets += 1
        self.payload_bytes += packet.payload_length
        self.finished |= bool(segment.flags & FIN)
        self.reset |= bool(segment.flags & RST)
        if segment.flags & SYN:
            self._base = (segment.sequence + 1) % _WHOLE
            self._next = self._highest = 0
        elif not packet.payload_length:
            self._pure_ack(segment)
        if packet.payload_length and not segment.flags & SYN:
            if self._base is None:
                # The capture began in the middle of the connection.
                self._base = segment.sequence
            self._place(packet, segment, rtt)

    def acknowledged(self, number: int, time: float) -> None:
        """The other side acknowledges everything before `number`."""
        if self._timed is None or self._base is None:
            return
        end, sent = self._timed
        if self._relative(number) >= end:
            if len(self.rtt) < _MARKS:
                self.rtt.append(time - sent)
            self._timed = None

    def time_at(self, offset: int) -> float | None:
        """When the byte at `offset` of `data` arrived."""
        index = bisect_right(self._marks, offset, key=lambda mark: mark[0]) - 1
        return self._marks[index][1] if index >= 0 else None

    def _relative(self, number: int) -> int:
        """`number` relative to the base, the nearest to what is expected next."""
        distance = (number - (self._base or 0) - self._next) % _WHOLE
        return self._next + (distance - _WHOLE if distance >= _HALF else distance)

    def _pure_ack(self, segment: Segment) -> None:
        if segment.flags & (FIN | RST):
            return
        if segment.window == 0:
            self.zero_windows += 1
        # Only the same number and window is a duplicate; another window is an update.
        seen = (segment.acknowledgement, segment.window)
        if self._base is not None and (segment.sequence - self._base + 1) % _WHOLE == self._next:
            return  # A keep-alive without payload.
        self.duplicate_acks += seen == self._last_ack
        self._last_ack = seen

    def _place(self, packet: Packet, segment: Segment, rtt: float | None) -> None:
        start = self._relative(segment.sequence)
        end = start + packet.payload_length
        self._last_ack = None
        if end <= self._next:
            if packet.payload_length == 1 and end == self._next:
                self.keep_alives += 1
            else:
                self._repeated(end)
            return
        if start in self._waiting:
            self._repeated(end)
            return
        if end <= self._highest:
            late = packet.time - self._overtaken > max(_REORDER_SECONDS, rtt or 0.0)
            self.out_of_order += not late
            if late:
                self._repeated(end)
        elif self._timed is None:
            self._timed = (end, packet.time)
        self._highest = max(self._highest, end)
        if start > self._next:
            if not self._waiting:
                self._overtaken = packet.time
            if len(self._waiting) < _WAITING:
                self._waiting[start] = (packet.payload, packet.payload_length, packet.time)
            else:
                self.incomplete = True
            return
        self._append(packet.payload, packet.payload_length, start, packet.time)
        self._fill()

    def _repeated(self, end: int) -> None:
        self.retransmissions += 1
        # Karn: the acknowledgement of a repeated segment gives no round trip time.
        if self._timed is not None and self._timed[0] <= end:
            self._timed = None

    def _fill(self) -> None:
        while self._waiting:
            start = min(self._waiting)
            if start > self._next:
                return
            payload, length, time = self._waiting.pop(start)
            if start + length > self._next:
                self._append(payload, length, start, time)

    def _append(self, payload: bytes, length: int, start: int, time: float) -> None:
        skip = self._next - start
        fresh = payload[skip:]
        if not self.incomplete:
            if len(self._marks) < _MARKS:
                self._marks.append((len(self.data), time))
            self.data += fresh[: KEEP_BYTES - len(self.data)]
            # Cut off by the capture, or beyond what is kept: what follows is not kept.
            self.incomplete = len(payload) < length or len(self.data) >= KEEP_BYTES
        self._next = start + length

    @property
    def holes(self) -> bool:
        """Whether something never arrived, or not in this capture."""
        return bool(self._waiting) or self.incomplete
