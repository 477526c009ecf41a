"""One direction of a TCP connection: its bytes in order, its losses and repetitions; pure.

Sequence numbers are taken relative to the first byte, modulo 2**32 (RFC 9293). Bytes that were
never captured leave a gap: where the receiver has acknowledged them, or too much waits behind them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, Protocol

from drivers.analysis.packets import FIN, RST, SYN, Packet, Segment
from drivers.analysis.repetitions import Judged, Sender

#: Of the beginning of a direction, and of segments that wait for a hole to be filled.
KEEP_BYTES: Final = 256 * 1024
_MARKS: Final = 4_096
_WAITING: Final = 256
_WAITING_BYTES: Final = 1024 * 1024
_HALF: Final = 1 << 31
_WHOLE: Final = 1 << 32


class Follower(Protocol):
    """Reads a direction while it is put in order, and keeps what it needs."""

    def take(self, data: bytes, time: float) -> None:
        """The next bytes."""
        ...

    def gap(self, missing: int) -> None:
        """So many bytes were not captured."""
        ...


@dataclass(slots=True)
class Direction:
    """What one side sent."""

    packets: int = 0
    #: Payload on the wire, repetitions included, and the part of it that was there before.
    payload_bytes: int = 0
    repeated_bytes: int = 0
    retransmissions: int = 0
    fast_retransmissions: int = 0
    spurious_retransmissions: int = 0
    out_of_order: int = 0
    duplicate_acks: int = 0
    zero_windows: int = 0
    keep_alives: int = 0
    #: Bytes that were sent and are not in the capture.
    missing_bytes: int = 0
    #: The number of its SYN, whether that was captured or follows from the first segment seen.
    initial: int | None = None
    finished: bool = False
    reset: bool = False
    #: The beginning, as far as it is without a hole; nothing where a follower reads.
    data: bytearray = field(default_factory=bytearray)
    #: Something is missing in `data`, or came after its end.
    incomplete: bool = False
    follower: Follower | None = None
    rtt: list[float] = field(default_factory=list)
    sender: Sender = field(default_factory=Sender)
    _base: int | None = None
    _next: int = 0
    #: Everything before this has reached the other side.
    _received: int = 0
    _marks: list[tuple[int, float]] = field(default_factory=list)
    _waiting: dict[int, tuple[bytes, int, float]] = field(default_factory=dict)
    _waiting_bytes: int = 0
    _timed: tuple[int, float] | None = None

    def add(self, packet: Packet, segment: Segment, judged: Judged) -> None:
        """Take the next packet of this direction."""
        self.packets += 1
        self.payload_bytes += packet.payload_length
        self.finished |= bool(segment.flags & FIN)
        self.reset |= bool(segment.flags & RST)
        self._count(judged)
        if segment.flags & SYN:
            if self._base is None:
                self._base = (segment.sequence + 1) % _WHOLE
        elif packet.payload_length:
            if self._base is None:
                # The capture began in the middle of the connection.
                self._base = segment.sequence
            self._place(packet, segment, judged)

    def acknowledged(self, number: int, time: float) -> None:
        """The other side acknowledges everything before `number`."""
        if self._base is None:
            return
        end = self._relative(number)
        self._received = max(self._received, end)
        if self._timed is not None and end >= self._timed[0]:
            if len(self.rtt) < _MARKS:
                self.rtt.append(time - self._timed[1])
            self._timed = None
        self._fill()

    def end(self) -> None:
        """Nothing more is coming: what waits is handed on."""
        while self._waiting:
            self._skip(min(self._waiting))
            self._fill()

    def time_at(self, offset: int) -> float | None:
        """When the byte at `offset` of `data` arrived."""
        index = bisect_right(self._marks, offset, key=lambda mark: mark[0]) - 1
        return self._marks[index][1] if index >= 0 else None

    def _count(self, judged: Judged) -> None:
        self.duplicate_acks += judged.duplicate_ack
        self.zero_windows += judged.zero_window
        self.keep_alives += judged.keep_alive
        if judged.repetition == "out_of_order":
            self.out_of_order += 1
        elif judged.repetition is not None:
            self.retransmissions += 1
            self.fast_retransmissions += judged.repetition == "fast"
            self.spurious_retransmissions += judged.repetition == "spurious"

    def _relative(self, number: int) -> int:
        """`number` relative to the base, the nearest to what is expected next."""
        distance = (number - (self._base or 0) - self._next) % _WHOLE
        return self._next + (distance - _WHOLE if distance >= _HALF else distance)

    def _place(self, packet: Packet, segment: Segment, judged: Judged) -> None:
        start = self._relative(segment.sequence)
        end = start + packet.payload_length
        if judged.repetition is None and not judged.keep_alive:
            self._timed = self._timed or (end, packet.time)
        elif self._timed is not None and self._timed[0] <= end:
            # Karn: the acknowledgement of a repeated segment gives no round trip time.
            self._timed = None
        if end <= self._next or start in self._waiting:
            self.repeated_bytes += packet.payload_length
            return
        self.repeated_bytes += max(0, self._next - start)
        if start <= self._next:
            self._append(packet.payload, packet.payload_length, start, packet.time)
        else:
            self._waiting[start] = (packet.payload, packet.payload_length, packet.time)
            self._waiting_bytes += len(packet.payload)
        self._fill()

    def _fill(self) -> None:
        """Hand on what waits, as far as no hole is before it that may still be filled."""
        while self._waiting:
            start = min(self._waiting)
            lost = len(self._waiting) > _WAITING or self._waiting_bytes > _WAITING_BYTES
            if start > self._next:
                if not lost and self._received < start:
                    return
                self._skip(start)
            payload, length, time = self._waiting.pop(start)
            self._waiting_bytes -= len(payload)
            self.repeated_bytes += min(length, self._next - start)
            if start + length > self._next:
                self._append(payload, length, start, time)

    def _skip(self, start: int) -> None:
        self.missing_bytes += start - self._next
        self._lose(start - self._next)
        self._next = start

    def _lose(self, missing: int) -> None:
        self.incomplete = True
        if self.follower is not None:
            self.follower.gap(missing)

    def _append(self, payload: bytes, length: int, start: int, time: float) -> None:
        fresh = payload[self._next - start :]
        missing = start + length - max(self._next, start + len(payload))
        self._next = start + length
        if self.follower is not None:
            self.follower.take(fresh, time)
        elif not self.incomplete:
            if len(self._marks) < _MARKS:
                self._marks.append((len(self.data), time))
            self.data += fresh[: KEEP_BYTES - len(self.data)]
            self.incomplete = len(self.data) >= KEEP_BYTES
        if missing:
            self._lose(missing)  # Cut off by the capture.
