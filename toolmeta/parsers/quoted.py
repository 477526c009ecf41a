"""Names as programs quote them: for the shell, between single curly quotes, with escapes of C."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(r"(?:\\[0-7]{3})+|\\.", re.DOTALL)
_SIMPLE: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a"}
#: One piece of a word of the shell; no two of them can begin alike.
_PIECE: Final = re.compile(
    r"\$'(?P<escaped>(?:[^'\\]|\\.)*)'|'(?P<single>[^']*)'"
    r'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<one>.)|(?P<bare>[^\\\'"$]+|\$)',
    re.DOTALL,
)


def unescaped(text: str) -> str:
    """The text without the escapes of C; bytes of three octal digits are UTF-8."""
    return _ESCAPE.sub(_character, text)


def of_shell(text: str) -> str | None:
    """The word that a shell would read; None where it is not one whole quoted word."""
    out: list[str] = []
    place = 0
    while place < len(text):
        piece = _PIECE.match(text, place)
        if piece is None:
            return None
        place = piece.end()
        if piece["escaped"] is not None:
            out.append(unescaped(piece["escaped"]))
        elif piece["double"] is not None:
            out.append(re.sub(r"\\(.)", r"\1", piece["double"], flags=re.DOTALL))
        else:
            out.append(piece["single"] or piece["one"] or piece["bare"] or "")
    return "".join(out)


def _character(match: re.Match[str]) -> str:
    text = match[0]
    if text[1].isdigit():
        codes = text.split("\\")[1:]
        return bytes(int(code, 8) & 255 for code in codes).decode("utf-8", "replace")
    return _SIMPLE.get(text[1], text[1])
