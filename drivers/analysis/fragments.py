"""Datagrams put together out of their fragments, in bounded memory; pure.

Sources: RFC 791 (3.2), RFC 8200 (4.5). A fragment that overlaps another is refused with its whole
datagram, as RFC 5722 demands for IPv6: what receivers make of overlaps differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from drivers.analysis.internet import Datagram

MAX_DATAGRAMS: Final = 256
_MAX_PARTS: Final = 128
_LARGEST: Final = 65_535
#: A sender may use the same number again after this.
_LIFETIME_SECONDS: Final = 60.0

_Key = tuple[str, str, int, int]


@dataclass(slots=True)
class _Pending:
    begun: float
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int | None = None
    refused: bool = False


class Fragments:
    """Keeps fragments until their datagram is whole."""

    def __init__(self) -> None:
        """Nothing is waiting."""
        self._pending: dict[_Key, _Pending] = {}

    def add(self, one: Datagram, time: float) -> Datagram | None:
        """The datagram where `one` completes it; a datagram of one piece is whole."""
        part = one.part
        if part is None or (not part.offset and len(one.data) < one.length):
            # Of a first piece that the capture cut off nothing can be made but what it begins with.
            return one
        # In later fragments of IPv6 the protocol is that of the fragment header: the same.
        key = (one.source, one.destination, one.protocol, part.ident)
        known = self._pending.get(key)
        if known is None or time - known.begun > _LIFETIME_SECONDS:
            known = self._begin(key, time)
        end = part.offset + len(one.data)
        if len(one.data) < one.length or end > _LARGEST or len(known.parts) >= _MAX_PARTS:
            known.refused = True  # Cut off by the capture, or impossible.
        repeated = known.parts.get(part.offset) == one.data
        overlaps = any(
            offset < end and part.offset < offset + len(data)
            for offset, data in known.parts.items()
        )
        known.refused |= overlaps and not repeated
        if not part.more:
            known.refused |= known.size not in (None, end)
            known.size = end
        if known.refused:
            return None
        known.parts[part.offset] = one.data
        if known.size is None or sum(map(len, known.parts.values())) != known.size:
            return None
        del self._pending[key]
        data = b"".join(known.parts[offset] for offset in sorted(known.parts))
        return replace(one, data=data, length=len(data))

    def _begin(self, key: _Key, time: float) -> _Pending:
        self._pending.pop(key, None)
        if len(self._pending) >= MAX_DATAGRAMS:
            del self._pending[next(iter(self._pending))]
        made = self._pending[key] = _Pending(time)
        return made
