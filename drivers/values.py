"""Values from outside as JSON: what can be stored, compared and referenced, in bounded size."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import orjson

from drivers.output import escaped
from streams.limits import MAX_OUTPUT_BYTES

#: Drivers cut rows and text to this size; where an output exceeds its budget, which is a little
#: more, the agent leaves fields out.
OUTPUT_BYTES: Final = MAX_OUTPUT_BYTES - 8 * 1024
#: Of the fields that were left out, so many are named.
_NAMES: Final = 100
_DEPTH: Final = 64
_TOO_DEEP: Final = "(nested too deep)"


def jsonable(value: Any, depth: int = 0) -> Any:
    """The value in JSON types: times as ISO 8601, bytes as base64, NUL escaped, no NaN.

    Decimals stay numbers where a double holds them exactly, else they become text; the same goes
    for integers beyond 53 bits. Levels below the 64th are left out.
    """
    match value:
        case None | bool():
            return value
        case str():
            return escaped(value).encode("utf-8", "replace").decode()
        case int():
            return value if -(2**53) < value < 2**53 else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            number = float(value)
            exact = math.isfinite(number) and Decimal(repr(number)) == value
            return number if exact else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case Enum():
            return jsonable(value.value, depth + 1)
    if depth >= _DEPTH:
        return _TOO_DEEP
    if isinstance(value, Mapping):
        return {escaped(str(name)): jsonable(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item, depth + 1) for item in value]
    return escaped(str(value))


def fitting(output: dict[str, Any], limit: int = OUTPUT_BYTES) -> dict[str, Any]:
    """The output if its JSON is at most `limit` bytes, else without its largest fields.

    The first 100 fields that were left out are named in `omitted`, and `truncated` is true.
    """
    sizes = {
        name: len(orjson.dumps(value)) + len(orjson.dumps(name)) + 2
        for name, value in output.items()
    }
    total = sum(sizes.values())
    if total <= limit:
        return output
    omitted: dict[str, None] = {}
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if total <= limit:
            break
        total -= sizes[name]
        omitted[name] = None
    kept = {name: value for name, value in output.items() if name not in omitted}
    return {**kept, "omitted": list(omitted)[:_NAMES], "truncated": True}
