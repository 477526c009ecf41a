"""What a tool returned as JSON that every reader accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

#: Readers parse to a depth of 200; an output is one part of a report.
_DEPTH: Final = 64


def cut(value: str, limit: int, *, end: bool = False) -> str:
    """`value` without lone surrogates, its JSON text at most `limit` bytes; `end` keeps the end."""
    clean = text(value)
    while (size := len(orjson.dumps(clean)) - 2) > limit:
        # A character takes 1 to 6 bytes; each round drops at least one, most often all there is.
        kept = min(len(clean) - 1, len(clean) * limit // size)
        clean = clean[len(clean) - kept :] if end else clean[:kept]
    return clean


def dump(value: Any) -> bytes:
    """The JSON text of `value`.

    NaN and infinities become null, integers beyond 64 bits text, foreign types their type's name.
    """
    try:
        dumped = orjson.dumps(value)
    except TypeError:  # orjson.JSONEncodeError: a value that JSON, or orjson, does not know
        return orjson.dumps(_clean(value, 0))
    if dumped.count(b"[") + dumped.count(b"{") > _DEPTH and _deep(value, 0):
        return orjson.dumps(_clean(value, 0))
    return dumped


def _deep(value: Any, depth: int) -> bool:
    if depth > _DEPTH:
        return True
    if isinstance(value, dict):
        return any(_deep(item, depth + 1) for item in value.values())
    return isinstance(value, list | tuple) and any(_deep(item, depth + 1) for item in value)


def _clean(value: Any, depth: int) -> Any:
    if depth > _DEPTH:
        return "<too deep>"
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if -(2**63) <= value < 2**64:
            return int(value)
        # Python refuses to write out more than 4,300 digits.
        bits = value.bit_length()
        return str(value) if bits <= 1_024 else f"<integer of {bits} bits>"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {text(str(key)): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    try:
        return orjson.loads(orjson.dumps(value))
    except TypeError:
        # Never its repr, which could hold anything.
        return f"<{type(value).__name__}>"


def text(value: str) -> str:
    """`value` without lone surrogates, which UTF-8 cannot carry."""
    return value.encode("utf-8", "replace").decode("utf-8")
