"""Masking: no output of the executor holds a secret that it holds or resolved, by known value.

What only looks like a secret is masked after that, by pattern.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from drivers.known_secrets import KnownSecrets
from drivers.secret_matcher import Matcher, Span
from runtime.pattern_matcher import MASK, PatternMatcher, merged
from runtime.secret_patterns import EMAIL_DOMAIN, EMAIL_LOCAL, FIELD, FIELD_LEAST

#: Of a secret at the end of a text that was cut; fewer bytes stand there by chance.
_CUT: Final = 6
_DEPTH: Final = 80


class Masker:
    """The secrets of one attempt and those of the whole process; for one thread."""

    def __init__(
        self,
        values: Iterable[str] = (),
        known: KnownSecrets | None = None,
        patterns: PatternMatcher | None = None,
    ) -> None:
        """Masks `values`, what `known` has at the time of each call, and what fits `patterns`."""
        self._own = frozenset(values)
        self._patterns = patterns
        self._known = known or KnownSecrets()
        self._compiled: Matcher | None = None
        self._compiled_for: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"Masker({len(self._own | self._known.values)} secrets)"

    def __bool__(self) -> bool:
        """Whether there is anything that it could mask."""
        return self._patterns is not None or bool(self._matcher())

    def add(self, *values: str) -> None:
        """Also mask these; one of fewer than 4 characters cannot be masked and is left out."""
        if not self._own.issuperset(values):
            self._own = self._own.union(values)
            self._compiled_for = None

    def _matcher(self) -> Matcher:
        known = self._known.values
        if self._compiled is None or self._compiled_for is not known:
            # An own value may have been dropped from what the process remembers.
            shared = self._own <= known
            self._compiled = self._known.matcher() if shared else Matcher(self._own | known)
            self._compiled_for = known
        return self._compiled

    def _spans(self, data: bytes, *, patterns: bool = True) -> list[Span]:
        found = self._matcher().spans(data)
        if self._patterns is None or not patterns:
            return found
        looks = self._patterns.spans(data)
        return merged(found + looks) if looks else found

    def _held(self, data: bytes, *, patterns: bool = True) -> int:
        held = self._matcher().held(data)
        if self._patterns is None or not patterns:
            return held
        return max(held, self._patterns.held(data))

    def data(self, data: bytes) -> bytes:
        """`data` with every secret replaced."""
        return self._data(data, patterns=True)

    def _data(self, data: bytes, *, patterns: bool) -> bytes:
        spans = self._spans(data, patterns=patterns)
        if not spans:
            return data
        done = bytearray()
        position = 0
        for start, end in spans:
            done += data[position:start] + MASK
            position = end
        return bytes(done + data[position:])

    def text(self, text: str) -> str:
        """`text` with every secret replaced, also one whose end was cut off with the text."""
        return self._text(text, patterns=self._patterns is not None)

    def _text(self, text: str, *, patterns: bool) -> str:
        raw = text.encode("utf-8", "surrogatepass")
        # By known value first: a piece of one at the end of the text is known to be one.
        done, held = self._split(raw, patterns=False)
        masked = done + (self._data(held, patterns=False) if len(held) < _CUT else MASK)
        if patterns:
            masked = self._data(masked, patterns=True)
        if masked == raw:
            return text
        try:
            return masked.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            # A form in UTF-16 may begin or end within a character.
            return masked.decode("utf-8", "replace")

    def value(self, value: Any) -> Any:
        """A JSON value with every secret replaced, in names too.

        By pattern text is masked, and no number; a text that is a mail address as a whole is kept,
        since later steps send to it.
        """
        patterns = self._patterns is not None and self._may_fit(value)
        if not patterns and not self._matcher():
            return value
        return self._value(value, patterns, 0)

    def _may_fit(self, value: Any) -> bool:
        """Whether any pattern could be about the value; one look at all of it saves many."""
        assert self._patterns is not None  # asked before  # noqa: S101
        try:
            return self._patterns.may_hold(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
        except (TypeError, ValueError):
            return True

    def _value(self, value: Any, patterns: bool, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value, patterns=patterns and not _is_address(value))
        if isinstance(value, int | float):
            shown = repr(value)
            return value if self._text(shown, patterns=False) == shown else MASK.decode()
        if depth > _DEPTH:
            return "(nested too deep)"
        if isinstance(value, dict):
            return {
                self._value(name, patterns, depth + 1): MASK.decode()
                if patterns and _is_secret_field(name, item)
                else self._value(item, patterns, depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._value(item, patterns, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray):
            return self.data(bytes(value))
        return value

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """The masked part of a stream that may be published, and an end that may begin a secret."""
        return self._split(data, patterns=True)

    def _split(self, data: bytes, *, patterns: bool) -> tuple[bytes, bytes]:
        if not self:
            return data, b""
        done = bytearray()
        position = 0
        safe = len(data) - self._held(data, patterns=patterns)
        for start, end in self._spans(data, patterns=patterns):
            if start >= safe:
                break
            done += data[position:start] + MASK
            position = end
            if position > safe:
                # What could begin a secret was the end of this one.
                safe = len(data) - self._held(data[position:], patterns=patterns)
        done += data[position:safe]
        return bytes(done), data[max(safe, position) :]


def _is_address(text: str) -> bool:
    """Whether the text is one mail address and nothing else."""
    name, at, _ = text.partition("@")
    if not at or len(text) > 320:
        return False
    raw = text.encode("utf-8", "replace")
    local = EMAIL_LOCAL.match(name.encode("utf-8", "replace"))
    domain = EMAIL_DOMAIN.match(raw, len(raw) - len(raw.partition(b"@")[2]) - 1)
    return local is not None and domain is not None and domain.end() == len(raw)


def _is_secret_field(name: Any, value: Any) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and len(value) >= FIELD_LEAST
        and FIELD.search(name[-40:]) is not None
    )
