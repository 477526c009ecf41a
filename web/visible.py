"""Visible: characters that could control a terminal or turn the direction of text are spelled out.

Pages escape markup; these characters are no markup, and yet make text look like other text, or do
something where it is pasted.
"""

from __future__ import annotations

import re
from typing import Any, Final

#: Control characters (C1 included) but line feed and tab, the marks, embeddings and isolates that
#: turn the direction of text, other line separators, invisible joiners, and lone surrogates, which
#: no encoding has.
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_PICTURES: Final = 0x2400


def visible(text: str) -> str:
    """The text with a picture (`␛`) or an escape (`\\u202e`) for each such character."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(_spelled, text.replace("\r\n", "\n"))


def finalized(value: Any) -> Any:
    """What a template writes: text is made visible, what is HTML already has been."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(_PICTURES + code) if code < 0x20 else f"\\u{code:04x}"
