"""Decoding: from the bytes of a record to what its topic carries, or to a reason why not.

What is decoded here can be written again: as JSON, as an event, as a row. Reports and commands are
checked like requests, since whoever reaches a topic can write to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from authority.identity import Said
from streams.commands import CONTROL_COMMAND, AnyCommand, Resolve
from streams.ids import is_execution_id
from streams.limits import (
    MAX_CONTROL_BYTES,
    MAX_INTEGER,
    MAX_RECORD_BYTES,
    MAX_REPORT_BYTES,
    MAX_REQUEST_BYTES,
)
from streams.locks import LOCK_ANSWER, AnyLockAnswer
from streams.on_behalf import OnBehalfOf
from streams.reports import REPORT, AnyReport, Cancelled, Failed, Succeeded
from streams.started import StartedBy
from toolmeta.invocation import Problem

T = TypeVar("T")

#: Without either, seen in this translation, no number can be infinite or beyond 64 bits. A search
#: of bytes takes a hundredth of the time of a regular expression.
_DIGITS: Final = bytes.maketrans(b"123456789E", b"000000000e")
_MANY_DIGITS: Final = b"0" * 19
_LARGE_EXPONENT: Final = b"0e000"
#: The same for a number that no text holds, where the former was found.
_LARGE_NUMBER: Final = re.compile(rb"[:,\[\s]-?[0-9.]*[0-9](?:[0-9]{18}|[eE]\+?[0-9]{3})")
#: Compared by type: `isinstance` asks pydantic, which takes longer than all else here.
_FREE: Final = frozenset({Succeeded, Failed, Cancelled, Resolve})
_ORIGIN: Final[TypeAdapter[StartedBy | None]] = TypeAdapter(
    StartedBy | None, config=ConfigDict(defer_build=True)
)
_BEHALF: Final[TypeAdapter[OnBehalfOf | None]] = TypeAdapter(
    OnBehalfOf | None, config=ConfigDict(defer_build=True)
)
_NUL: Final = rb"\u0000"
#: The characters of a path that a problem shows.
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A record that belongs in the dead letters: a stable class and a sentence."""

    error_class: str
    message: str


def decode_report(value: bytes | None) -> AnyReport | Undecodable:
    """The report in a record of `steps.reports`; never raises."""
    # Programs may write NUL; the sink escapes it.
    found: AnyReport | Undecodable = _decode(value, REPORT, MAX_REPORT_BYTES, nul=True)
    return found


def said_by(value: bytes | None) -> Said:
    """Who asks by the word of a request, however wrong the rest of it is; never raises."""
    if not value or len(value) > 4 * MAX_REQUEST_BYTES:
        return Said()
    try:
        request = orjson.loads(value)
    except orjson.JSONDecodeError:
        return Said()
    if not isinstance(request, dict):
        return Said()
    return Said(
        _read(_ORIGIN, request.get("started_by")), _read(_BEHALF, request.get("on_behalf_of"))
    )


def _read(model: TypeAdapter[T | None], given: object) -> T | None:
    try:
        return model.validate_python(given)
    except ValidationError:
        return None


def decode_command(value: bytes | None) -> AnyCommand | Undecodable:
    """The command in a record of `execution.control`; never raises."""
    found: AnyCommand | Undecodable = _decode(value, CONTROL_COMMAND, MAX_CONTROL_BYTES, nul=False)
    if isinstance(found, Undecodable) or is_execution_id(found.execution_id):
        return found
    return Undecodable("invalid", "execution_id is not the id of an execution")


def decode_lock_answer(value: bytes | None) -> AnyLockAnswer | Undecodable:
    """The answer in a record of `locks.grants`; never raises."""
    found: AnyLockAnswer | Undecodable = _decode(value, LOCK_ANSWER, MAX_RECORD_BYTES, nul=False)
    return found


def _decode(value: bytes | None, adapter: TypeAdapter[Any], limit: int, *, nul: bool) -> Any:
    if value is None:
        return Undecodable("empty", "the record has no value")
    if len(value) > limit:
        return Undecodable("too_large", f"the record has {len(value)} bytes; {limit} are allowed")
    try:
        found = adapter.validate_json(value)
    except ValidationError as error:
        return Undecodable("invalid", _first(error))
    # Only these hold what somebody else made up; the rest is bounded by its model.
    if type(found) in _FREE and is_suspicious(value, nul=nul):
        for problem in unstorable(found.model_dump(), "value", nul=nul):
            return Undecodable("invalid", f"{problem.field}: {problem.message}")
    return found


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:64] for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


def is_suspicious(value: bytes, *, nul: bool) -> bool:
    """Whether the JSON in `value` may hold what `unstorable` finds; cheap."""
    if b"NaN" in value or b"Infinity" in value or (not nul and _NUL in value):
        return True
    digits = value.translate(_DIGITS, b"+")
    large = _MANY_DIGITS in digits or _LARGE_EXPONENT in digits
    return large and _LARGE_NUMBER.search(value) is not None


def unstorable(value: Any, path: str, *, nul: bool = False) -> Iterator[Problem]:
    """What no table, event or exact copy can hold: NaN, infinities, integers over 64 bits.

    NUL too, unless `nul` allows it.
    """
    if isinstance(value, str):
        if not nul and "\x00" in value:
            yield Problem(path, "it holds a NUL character; remove it")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Problem(path, "it is not a finite number")
    elif isinstance(value, int):
        if not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            yield Problem(path, "the integer does not fit in 64 bits; send it as text")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not nul and "\x00" in key:
                yield Problem(path, "a field name holds a NUL character")
            # What nobody is shown is not built: one long name may stand above all other values.
            yield from unstorable(item, f"{path}.{key[:_SHOWN]}"[:_SHOWN], nul=nul)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unstorable(item, f"{path}[{index}]"[:_SHOWN], nul=nul)
