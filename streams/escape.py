"""Escaping U+0000, which Postgres cannot store, in text and inside JSON."""

from __future__ import annotations

from typing import Any, Final

#: How U+0000 is spelled in a table: six visible characters.
ESCAPED_NUL: Final = "\\u0000"
#: How it is spelled in JSON bytes; without it no value can hold one.
NUL_IN_JSON: Final = b"\\u0000"


def visible(text: str) -> str:
    """The text with every U+0000 spelled out."""
    return text.replace("\x00", ESCAPED_NUL) if "\x00" in text else text


def visible_tree(value: Any) -> Any:
    """A decoded JSON value with every U+0000 spelled out, in keys too.

    As deep as the decoder allows (1,024 levels), well under the interpreter's limit of frames.
    """
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): visible_tree(item) for name, item in value.items()}
    if isinstance(value, list):
        return [visible_tree(item) for item in value]
    return value
