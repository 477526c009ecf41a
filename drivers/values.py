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

#: Drivers keep below this what they can cut in a sensible place (rows, text); the agent refuses
#: a little more, field by field. An output travels in a report, an event and later commands.
OUTPUT_BYTES: Final = 240 * 1024
_DEPTH: Final = 64
_TOO_DEEP: Final = "(nested too deep)"


def jsonable(value: Any, depth: int = 0) -> Any:
    """The value in JSON types: times as ISO 8601, bytes as base64, NUL escaped, no NaN.

    Decimals stay numbers where a double holds them exactly, else they become text; the same goes
    for integers beyond 53 bits. What lies deeper than 64 levels is left out.
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

    Fields that were left out are named in `omitted`, and `truncated` is true.
    """
    sizes = {name: len(orjson.dumps(value)) for name, value in output.items()}
    if sum(sizes.values()) <= limit:
        return output
    omitted: list[str] = []
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if sum(size for kept, size in sizes.items() if kept not in omitted) <= limit:
            break
        omitted.append(name)
    kept = {name: value for name, value in output.items() if name not in omitted}
    return {**kept, "omitted": omitted, "truncated": True}
