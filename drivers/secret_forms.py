"""The forms in which programs and servers write a secret: the values that masking looks for.

Quoted for JSON (up to three times), SQL, CSV, a shell, Python or a URL; all of these but the URL
within XML or HTML too, and all of that within JSON; as base64, also in a longer base64 text (a
Basic authorization header); in hexadecimal and as UTF-16.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

#: Masking something shorter would destroy what it protects.
SHORTEST: Final = 4
#: Of a piece of base64 whose ends depend on the bytes before and after it.
_SHORTEST_BASE64: Final = 6
#: Of one line of a secret with several (a private key).
_SHORTEST_LINE: Final = 8
#: A longer text is looked for as it is, as JSON and as base64 only, to bound the memory.
_EVERY_FORM: Final = 4_096
_QUOTES: Final = (("&quot;", "&apos;"), ("&quot;", "&#39;"), ("&quot;", "&#x27;"),
                  ("&#34;", "&#39;"), ('"', "'"))  # fmt: skip
_ESCAPED_BYTE: Final = re.compile(r"%..")
#: What a shell needs a backslash before: within double quotes, and in bare words (as `printf %q`).
_IN_DOUBLE_QUOTES: Final = re.compile(r'([\\"$`])')
_IN_WORDS: Final = re.compile(r"([\s'\"\\|&;()<>!{}*\[\]?^$`,])")


class Forms(NamedTuple):
    """The forms of a secret; `wrapped` are those that are written over several lines, too."""

    plain: frozenset[bytes]
    wrapped: frozenset[bytes]


@lru_cache(maxsize=256)
def forms_of(secret: str) -> Forms:
    """Every form of a secret that is looked for; none where it is too short."""
    pieces = {secret, secret.strip()}
    lines = secret.splitlines()
    if len(lines) > 1:
        pieces |= {line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE}
    pieces = {piece for piece in pieces if len(piece) >= SHORTEST and not piece.startswith("-----")}
    plain = {_bytes(secret)} if len(secret) >= SHORTEST else set()
    wrapped: set[bytes] = set()
    for piece in pieces:
        plain.update(_texts(piece) if len(piece) <= _EVERY_FORM else _few_texts(piece))
        wrapped.update(_encoded(piece))
    return Forms(
        frozenset(form for form in plain if len(form) >= SHORTEST),
        frozenset(form for form in wrapped if len(form) >= SHORTEST),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _few_texts(piece: str) -> Iterator[bytes]:
    for text in (piece, _json(piece), json.dumps(piece, ensure_ascii=False)[1:-1]):
        yield _bytes(text)


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _texts(piece: str) -> Iterator[bytes]:
    texts = {
        piece,
        repr(piece)[1:-1],
        shlex.quote(piece).strip("'"),
        _IN_DOUBLE_QUOTES.sub(r"\\\1", piece),
        _IN_WORDS.sub(r"\\\1", piece),
        piece.replace("'", "''"),
        piece.replace('"', '""'),
        piece.replace("\\", "\\\\").replace("'", "\\'"),
        *_in_json(piece),
    }
    # A document of XML or HTML may hold what was quoted before; each may stand in a JSON text.
    entities = {form for text in texts for form in _entities(text)}
    texts |= entities | {_json(form) for form in entities | texts}
    raw = _bytes(piece)
    every = "".join(f"%{byte:02X}" for byte in raw)
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw), every):
        texts |= {quoted, _ESCAPED_BYTE.sub(lambda found: found[0].lower(), quoted)}
    yield from map(_bytes, texts)
    for order in ("utf-16-le", "utf-16-be"):
        wide = piece.encode(order, "surrogatepass")
        yield wide
        # As a result holds it: without U+0000, which Postgres cannot store (`output.escaped`).
        yield wide.replace(b"\x00", b"\\u0000")


def _in_json(piece: str) -> Iterator[str]:
    """As a JSON text, and as that within a JSON text, three times in all."""
    for ascii_only, slash in product((True, False), ("/", "\\/")):
        text = piece
        for _ in range(3):
            text = json.dumps(text, ensure_ascii=ascii_only).replace("/", slash)[1:-1]
            yield text


def _entities(piece: str) -> Iterator[str]:
    """Escaped for XML or HTML, in the ways that libraries differ."""
    basic = html.escape(piece, quote=False)
    for double, single in _QUOTES:
        text = basic.replace('"', double).replace("'", single)
        yield text
        yield html.escape(text, quote=False)
        for form in ("&#{:d};", "&#x{:x};", "&#x{:X};"):
            yield "".join(c if c.isascii() else form.format(ord(c)) for c in text)


def _encoded(piece: str) -> Iterator[bytes]:
    """In base64 and hexadecimal, of the texts that are encoded most often."""
    raw = _bytes(piece)
    contents = {raw, _bytes(_json(piece))}
    if len(piece) <= _EVERY_FORM:
        # UTF-16 is what PowerShell calls an encoded command.
        contents |= {piece.encode(name, "surrogatepass") for name in ("utf-16-le", "utf-16-be")}
        for content in contents:
            yield content.hex().encode()
            yield content.hex().upper().encode()
    for content in contents:
        yield from _base64(content)


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
