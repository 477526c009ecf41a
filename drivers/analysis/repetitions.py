"""Which segments repeat what was sent before, by the rules that Wireshark documents; pure.

Both count the same, so that a finding can be looked up in Wireshark by its display filters
(`tcp.analysis.retransmission`, `.out_of_order`, `.duplicate_ack` …). Rules: Wireshark User's Guide,
"TCP Analysis". Sequence numbers are compared modulo 2**32 (RFC 9293, 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from drivers.analysis.packets import FIN, RST, SYN, Packet, Segment

_WHOLE: Final = 1 << 32
_HALF: Final = 1 << 31
#: A segment that comes later than this after the newest one is no reordering; the time of the
#: handshake takes its place where that was captured.
REORDERED_SECONDS: Final = 0.003
_FAST_SECONDS: Final = 0.02
_FAST_DUPLICATES: Final = 2

Repetition = Literal["retransmission", "fast", "spurious", "out_of_order"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What one segment is, beside what it carries."""

    repetition: Repetition | None = None
    duplicate_ack: bool = False
    keep_alive: bool = False
    zero_window: bool = False


@dataclass(slots=True)
class Sender:
    """What one side has sent so far, as far as the rules need it."""

    #: The number after the highest one sent, and when that was; None before the first segment.
    next: int | None = None
    next_at: float = 0.0
    #: The acknowledgement sent last, how often it was repeated, the window sent with it.
    ack: int | None = None
    ack_at: float = 0.0
    window: int = -1
    duplicates: int = 0
    #: What its newest segment was: a keep-alive, or a byte into a window that was closed.
    probed: Literal["keep_alive", "window"] | None = None


def judge(
    own: Sender, other: Sender, packet: Packet, segment: Segment, handshake: float | None
) -> Judged:
    """Judge a segment of `own` by what was seen before, and remember it."""
    payload, plain = packet.payload_length, not segment.flags & (SYN | FIN | RST)
    after = segment.sequence + payload + bool(segment.flags & (SYN | FIN))
    probe = payload == 1 and segment.sequence == own.next and other.window == 0
    keep_alive = (
        plain
        and payload <= 1
        and own.next is not None
        and segment.sequence == (own.next - 1) % _WHOLE
    )
    same = (
        plain
        and not payload
        and segment.sequence == own.next
        and segment.acknowledgement == own.ack
        and bool(own.ack)
    )
    unchanged = segment.window == own.window
    answer = same and unchanged and other.probed is not None
    duplicate = same and unchanged and bool(segment.window) and not answer
    if segment.acknowledgement != own.ack:
        own.duplicates = 0
    own.duplicates += duplicate
    repetition: Repetition | None = None
    behind = own.next is not None and _before(segment.sequence, own.next)
    if not keep_alive and payload and other.ack and not _before(other.ack, after):
        repetition = "spurious"
    elif behind and not keep_alive and (payload or segment.flags & (SYN | FIN)):
        repetition = _repetition(own, other, packet, segment, after, handshake)
    _remember(own, packet, segment, after, advances=not probe)
    own.probed = "keep_alive" if keep_alive else "window" if probe else None
    return Judged(repetition, duplicate, keep_alive, plain and segment.window == 0)


def _repetition(
    own: Sender,
    other: Sender,
    packet: Packet,
    segment: Segment,
    after: int,
    handshake: float | None,
) -> Repetition | None:
    if packet.payload_length > 1 and own.next == (segment.sequence + 1) % _WHOLE:
        return None  # The byte before was a probe, and here it is once more with what follows it.
    asked = other.duplicates >= _FAST_DUPLICATES and other.ack == segment.sequence
    if asked and packet.time - other.ack_at < _FAST_SECONDS:
        return "fast"
    threshold = handshake or REORDERED_SECONDS
    if packet.time - own.next_at < threshold and own.next != after % _WHOLE:
        return "out_of_order"
    return "retransmission"


def _remember(own: Sender, packet: Packet, segment: Segment, after: int, *, advances: bool) -> None:
    if advances and (own.next is None or _before(own.next, after)):
        own.next, own.next_at = after % _WHOLE, packet.time
    own.ack, own.ack_at, own.window = segment.acknowledgement, packet.time, segment.window


def _before(first: int, second: int) -> bool:
    return 0 < (second - first) % _WHOLE < _HALF
