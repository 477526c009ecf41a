"""Masking by known value: no output of the executor holds a secret that it resolved.

Masked are the value and the forms in which programs write it: quoted for JSON, XML, a
shell or a URL, and as base64, also inside a longer base64 text (a Basic authorization header).
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

MASK: Final = b"***"
#: Masking something shorter would destroy what it protects.
SHORTEST: Final = 4
#: Of a piece of base64 whose ends depend on the bytes before and after it.
_SHORTEST_BASE64: Final = 6
#: Of one line of a secret with several (a private key).
_SHORTEST_LINE: Final = 8
_HEAD: Final = 4
_DEPTH: Final = 80


class Masker:
    """The secrets of one attempt; for the event loop's thread only."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Knows `values`."""
        self._forms: frozenset[bytes] = frozenset()
        self._pattern: re.Pattern[bytes] | None = None
        self._heads: re.Pattern[bytes] | None = None
        self._longest = 0
        if values:
            self.add(*values)

    def __repr__(self) -> str:
        return f"Masker({len(self._forms)} forms)"

    def __bool__(self) -> bool:
        return self._pattern is not None

    def add(self, *values: str) -> None:
        """Also mask these; one of fewer than 4 characters cannot be masked and is left out."""
        forms = self._forms.union(*(forms_of(value) for value in values))
        if forms == self._forms:
            return
        self._forms = forms
        # The longest first: of two that begin alike the longer one is replaced.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(b"|".join(map(re.escape, ordered)))
        heads = sorted({form[:_HEAD] for form in forms})
        self._heads = re.compile(b"(?=" + b"|".join(map(re.escape, heads)) + b")")
        self._longest = len(ordered[0])

    def data(self, data: bytes) -> bytes:
        """`data` with every secret replaced."""
        return data if self._pattern is None else self._pattern.sub(MASK, data)

    def text(self, text: str) -> str:
        """`text` with every secret replaced."""
        if self._pattern is None:
            return text
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def value(self, value: Any, depth: int = 0) -> Any:
        """A JSON value with every secret replaced, in names too."""
        if self._pattern is None or value is None or isinstance(value, bool):
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
        if self._pattern is None:
            return data, b""
        done = bytearray()
        position = 0
        safe = len(data) - self._held(data)
        while (match := self._pattern.search(data, position)) and match.start() < safe:
            done += data[position : match.start()] + MASK
            position = match.end()
            if position > safe:
                # What could begin a secret was the end of this one.
                safe = len(data) - self._held(data[position:])
        done += data[position:safe]
        return bytes(done), data[max(safe, position) :]

    def _held(self, data: bytes) -> int:
        """Bytes at the end of `data` that are the beginning of a secret, and not yet all of it."""
        if self._heads is None:
            return 0
        tail = data[-(self._longest - 1) :]
        candidates = (match.start() for match in self._heads.finditer(tail))
        short = range(max(0, len(tail) - _HEAD + 1), len(tail))
        for start in (*candidates, *short):
            rest = tail[start:]
            if any(len(form) > len(rest) and form.startswith(rest) for form in self._forms):
                return len(rest)
        return 0


def forms_of(secret: str) -> frozenset[bytes]:
    """Every form of a secret that is looked for; none where it is too short."""
    pieces = {secret, secret.strip()}
    lines = secret.splitlines()
    if len(lines) > 1:
        pieces |= {line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE}
    found = {
        form
        for piece in pieces
        if len(piece) >= SHORTEST and not piece.startswith("-----")
        for form in _encoded(piece)
        if len(form) >= SHORTEST
    }
    if len(secret) >= SHORTEST:
        found |= {secret.encode("utf-8", "surrogatepass")}
    return frozenset(found)


def _encoded(piece: str) -> Iterator[bytes]:
    texts = {
        piece,
        json.dumps(piece)[1:-1],
        json.dumps(piece, ensure_ascii=False)[1:-1],
        json.dumps(piece).replace("/", "\\/")[1:-1],
        repr(piece)[1:-1],
        shlex.quote(piece).strip("'"),
        escape(piece),
        escape(piece, {'"': "&quot;", "'": "&apos;"}),
    }
    raw = piece.encode("utf-8", "surrogatepass")
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        texts |= {quoted, re.sub("%..", lambda found: found[0].lower(), quoted)}
    yield from (text.encode("utf-8", "surrogatepass") for text in texts)
    yield from (raw.hex().encode(), raw.hex().upper().encode())
    yield from _base64(raw)
    # What PowerShell calls an encoded command.
    yield from _base64(piece.encode("utf-16-le", "surrogatepass"))


def _base64(raw: bytes) -> Iterator[bytes]:
    """Base64 of the bytes alone, and the part that is the same at any position in a longer text."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).rstrip(b"=")
        for before in range(3):
            text = encode(bytes(before) + raw)
            # Whole characters whose six bits are all of the secret.
            first = -(-before * 8 // 6)
            last = (before + len(raw)) * 8 // 6
            if last - first >= _SHORTEST_BASE64:
                yield text[first:last]
