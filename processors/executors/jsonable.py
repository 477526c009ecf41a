"""What a tool returned, made fit for a report: JSON that every reader accepts, of bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

#: Of a whole output, serialised.
OUTPUT_BYTES: Final = 256 * 1024
#: Of what is kept of an output that is larger, and of one field of it.
KEPT_BYTES: Final = 64 * 1024
_FIELD_BYTES: Final = 16 * 1024
_NAMES: Final = 100
#: Readers parse to a depth of 200; an output is one part of a report.
_DEPTH: Final = 64


def encode(value: Mapping[str, Any], limit: int = OUTPUT_BYTES) -> bytes:
    """The JSON text of `value`, at most `limit` bytes.

    NaN and infinities become null, integers beyond 64 bits text, foreign types their type's name.
    Of a value that is too large, the fields stay whose own text is at most 16 KiB, up to 64 KiB in
    all, with `truncated: true`, the whole's `bytes`, and the first 100 names of the fields left
    out as `truncated_fields`.
    """
    whole = _dump(value)
    if len(whole) <= limit:
        return whole
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    size = 0
    for name, item in value.items():
        field = _dump(item)
        if len(field) <= _FIELD_BYTES and size + len(field) + len(str(name)) <= KEPT_BYTES:
            kept[str(name)] = orjson.Fragment(field)
            size += len(field) + len(str(name))
        elif len(left_out) < _NAMES:
            left_out.append(text(str(name))[:200])
    kept.update(truncated=True, bytes=len(whole), truncated_fields=left_out)
    return orjson.dumps(kept)


def _dump(value: Any) -> bytes:
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
        # Beyond some thousand digits Python refuses to write it out, and nobody would read it.
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
