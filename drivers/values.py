"""Values from outside as JSON: what can be stored, compared and referenced, in bounded size."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from drivers.output import escaped
from streams.limits import MAX_OUTPUT_BYTES

#: What a driver keeps of what it is answered; the agent shortens it for the result.
KEPT_BYTES: Final = 4 * 1024 * 1024
#: What fits a result without being shortened.
OUTPUT_BYTES: Final = MAX_OUTPUT_BYTES - 8 * 1024
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
