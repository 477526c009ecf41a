"""Finds secrets by what they look like; linear in the input, for streams too."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from runtime import secret_patterns as table
from runtime.secret_patterns import Pattern
from runtime.settings import CommonSettings, SettingsError

Span = tuple[int, int]
MASK: Final = b"***"

#: The most that a stream keeps back for the end of a secret.
MAX_HELD: Final = 16 * 1024
_BEFORE: Final = 12
_END: Final = b"-----END"
#: A word that the end of the data may cut, or a group of digits.
_CUT: Final = re.compile(rb"(?:[A-Za-z0-9._%+@:/=\\\"'-]{1,64}|[0-9][0-9 -]{0,21})\Z")
_SHAPE: Final = bytes(
    ord("0") if 0x30 <= byte <= 0x39 else ord("-") if byte in b" -" else 0x78 for byte in range(256)
)
_DIGITS: Final = {
    table.CARD: (table.CARD_SHAPES, table.CARD_REGEX),
    table.SSN: (table.SSN_SHAPES, table.SSN_REGEX),
}


class PatternMatcher:
    """The patterns that are on; immutable, for any thread."""

    def __init__(self, off: Collection[str] = (table.IP_ADDRESS,)) -> None:
        """`off` are names of patterns; raises ValueError for one that is not known."""
        unknown = sorted(set(off) - set(table.NAMES))
        if unknown:
            known = ", ".join(table.NAMES)
            raise ValueError(f"there is no pattern {unknown[0]!r}; there are {known}")
        by_anchor: dict[bytes, list[Pattern]] = {}
        for pattern in table.PATTERNS:
            if pattern.name not in off:
                for anchor in pattern.anchors:
                    by_anchor.setdefault(anchor, []).append(pattern)
        self._at_sign = table.EMAIL not in off
        if self._at_sign:
            by_anchor[b"@"] = []
        self._addresses = table.IP_ADDRESS not in off
        # An anchor that begins with another one is the one that is found.
        self._found: list[tuple[Pattern, ...]] = []
        anchors = sorted(by_anchor)
        for anchor in anchors:
            own = [one for other in anchors if anchor.startswith(other) for one in by_anchor[other]]
            self._found.append(tuple(dict.fromkeys(own)))
        self._anchors = (
            BytesAhoCorasick(anchors, matchkind=MatchKind.LeftmostLongest) if anchors else None
        )
        self._anchor_at = anchors.index(b"@") if self._at_sign else -1
        shapes: list[bytes] = []
        self._digits: list[re.Pattern[bytes]] = []
        for name, (given, regex) in _DIGITS.items():
            if name not in off:
                shapes.extend(given)
                self._digits.extend([regex] * len(given))
        self._shapes = BytesAhoCorasick(shapes) if shapes else None

    def may_hold(self, data: bytes) -> bool:
        """Whether there is anything that a pattern could be about; faster than `spans`."""
        if self._anchors is not None and self._anchors.find_matches_as_indexes(data.lower()):
            return True
        if self._shapes is not None and self._shapes.find_matches_as_indexes(
            data.translate(_SHAPE)
        ):
            return True
        return self._addresses and table.IP_REGEX.search(data) is not None

    def spans(self, data: bytes) -> list[Span]:
        """Where secrets are in `data`: in order, none overlapping another."""
        found = self._at_anchors(data)
        if self._shapes is not None:
            found += self._by_digits(data)
        if self._addresses:
            found += [one.span() for one in table.IP_REGEX.finditer(data)]
        return merged(found)

    def text(self, text: str) -> str:
        """`text` with every secret replaced."""
        raw = text.encode("utf-8", "surrogatepass")
        spans = self.spans(raw)
        if not spans:
            return text
        done = bytearray()
        position = 0
        for start, end in spans:
            done += raw[position:start] + MASK
            position = end
        return bytes(done + raw[position:]).decode("utf-8", "replace")

    def _at_anchors(self, data: bytes) -> list[Span]:
        found: list[Span] = []
        if self._anchors is None:
            return found
        reached = 0
        for index, start, _ in self._anchors.find_matches_as_indexes(data.lower()):
            if start < reached:
                continue
            span = self._match(index, data, start)
            if span is not None:
                found.append(span)
                reached = span[1]
        return found

    def _match(self, index: int, data: bytes, start: int) -> Span | None:
        """The secret of the anchor at `start`."""
        if index == self._anchor_at:
            return _email(data, start)
        for pattern in self._found[index]:
            hit = pattern.regex.match(data, start)
            if hit is None:
                continue
            if pattern.name == "private_key":
                return start, _block_end(data, hit.end())
            return hit.span(hit.lastindex or 0)
        return None

    def _by_digits(self, data: bytes) -> list[Span]:
        assert self._shapes is not None  # asked before  # noqa: S101
        found: list[Span] = []
        shaped = data.translate(_SHAPE)
        for index, start, _ in self._shapes.find_matches_as_indexes(shaped):
            hit = self._digits[index].match(data, start)
            if hit is not None and (index in self._ssn() or _is_card(hit[0])):
                found.append(hit.span())
        return found

    def _ssn(self) -> range:
        """The indexes of the shapes that have no check digit."""
        first = next((n for n, one in enumerate(self._digits) if one is table.SSN_REGEX), 0)
        last = len(self._digits) if table.SSN_REGEX in self._digits else 0
        return range(first, last)

    def held(self, data: bytes) -> int:
        """Bytes at the end of `data` that may begin a secret, or of one that may go on."""
        cut = _CUT.search(data, max(0, len(data) - 64))
        first = len(data) if cut is None else cut.start()
        if self._anchors is None:
            return len(data) - first
        window = max(0, len(data) - MAX_HELD)
        tail = data[window:]
        reached = 0
        for index, start, _ in self._anchors.find_matches_as_indexes(tail.lower()):
            if start < reached:
                continue
            span = self._match(index, tail, start)
            # A backslash at the very end may escape the quote that ends the secret, or go on in it.
            if span is not None and span[1] < len(tail) and tail[span[1] :] != b"\\":
                reached = span[1]
            elif span is not None or self._may_follow(index, tail, start):
                begin = start if span is None else min(start, span[0])
                # With what a pattern looks at before its anchor.
                first = min(first, window + max(reached, begin - _BEFORE, 0))
                return len(data) - first
        # A word that ends a secret which is complete is not kept back without its name.
        return len(data) - max(first, window + reached if reached else 0)

    def _may_follow(self, index: int, tail: bytes, start: int) -> bool:
        """Whether more data could make a secret of what follows the anchor so far."""
        left = len(tail) - start
        lines = b"\n" in tail[start:]
        return any(
            left < one.near and (not lines or one.name == "ssh_key") for one in self._found[index]
        )


def patterns_of(settings: CommonSettings) -> PatternMatcher:
    """The patterns that a process has on; raises SettingsError."""
    off = [name.strip() for name in settings.masking_off.split(",") if name.strip()]
    try:
        return PatternMatcher(off)
    except ValueError as error:
        raise SettingsError(f"RUNSTREAM_MASKING_OFF: {error}") from None


def _block_end(data: bytes, start: int) -> int:
    """The end of a private key; without its last line, of as much as could be one."""
    limit = start + MAX_HELD - 256
    end = data.find(_END, start, limit)
    if end < 0:
        return min(len(data), limit)
    line = data.find(b"-----", end + len(_END), end + 80)
    return len(data) if line < 0 else line + 5


def _email(data: bytes, at: int) -> Span | None:
    domain = table.EMAIL_DOMAIN.match(data, at)
    if domain is None:
        return None
    local = table.EMAIL_LOCAL.search(data[max(0, at - 64) : at])
    return None if local is None else (at - len(local[0]), domain.end())


def _is_card(text: bytes) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    digits = [byte - 48 for byte in text if 48 <= byte <= 57][::-1]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def merged(spans: list[Span]) -> list[Span]:
    """The spans in order, those that overlap as one."""
    done: list[Span] = []
    for start, end in sorted(spans):
        if done and start < done[-1][1]:
            done[-1] = (done[-1][0], max(end, done[-1][1]))
        else:
            done.append((start, end))
    return done
