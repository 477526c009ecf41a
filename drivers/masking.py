"""Masking by known value: no output of the executor holds a secret that it holds or resolved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from drivers.known_secrets import KnownSecrets
from drivers.secret_matcher import Matcher

MASK: Final = b"***"
#: Of a secret at the end of a text that was cut; fewer bytes stand there by chance.
_CUT: Final = 6
_DEPTH: Final = 80


class Masker:
    """The secrets of one attempt and those of the whole process; for one thread."""

    def __init__(self, values: Iterable[str] = (), known: KnownSecrets | None = None) -> None:
        """Masks `values`, and what `known` has at the time of each call."""
        self._own = frozenset(values)
        self._known = known or KnownSecrets()
        self._compiled: Matcher | None = None
        self._compiled_for: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"Masker({len(self._own | self._known.values)} secrets)"

    def __bool__(self) -> bool:
        return bool(self._matcher())

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

    def data(self, data: bytes) -> bytes:
        """`data` with every secret replaced."""
        spans = self._matcher().spans(data)
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
        raw = text.encode("utf-8", "surrogatepass")
        done, held = self.split(raw)
        masked = done + (self.data(held) if len(held) < _CUT else MASK)
        if masked == raw:
            return text
        try:
            return masked.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            # A form in UTF-16 may begin or end within a character.
            return masked.decode("utf-8", "replace")

    def value(self, value: Any, depth: int = 0) -> Any:
        """A JSON value with every secret replaced, in names too."""
        if value is None or isinstance(value, bool) or not self:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float):
            shown = repr(value)
            return value if self.text(shown) == shown else MASK.decode()
        if depth > _DEPTH:
            return "(nested too deep)"
        if isinstance(value, dict):
            return {
                self.value(name, depth + 1): self.value(item, depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray):
            return self.data(bytes(value))
        return value

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """The masked part of a stream that may be published, and an end that may begin a secret."""
        matcher = self._matcher()
        if not matcher:
            return data, b""
        done = bytearray()
        position = 0
        safe = len(data) - matcher.held(data)
        for start, end in matcher.spans(data):
            if start >= safe:
                break
            done += data[position:start] + MASK
            position = end
            if position > safe:
                # What could begin a secret was the end of this one.
                safe = len(data) - matcher.held(data[position:])
        done += data[position:safe]
        return bytes(done), data[max(safe, position) :]
