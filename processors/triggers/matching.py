"""Matching: what a record of a topic means for a trigger; by its expressions, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from runtime.cel import expressions
from runtime.cel.evaluation import Spent
from runtime.cel.expressions import ExpressionError
from streams.limits import MAX_REQUEST_BYTES
from streams.started import has_mark, mark_of
from streams.timestamps import iso
from streams.triggers import MAX_ITEMS, Trigger
from toolmeta import secret_references

#: Of a JSON value; what nests deeper is looked at by nobody.
MAX_DEPTH: Final = 64
#: A value that is no JSON is given to expressions as text up to this size.
MAX_TEXT_BYTES: Final = 256 * 1024
_MAX_HEADERS: Final = 100
_MAX_HEADER_BYTES: Final = 8 * 1024
_MAX_KEY_BYTES: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class Watched:
    """A trigger as the matcher knows it."""

    tenant: str
    name: str
    trigger: Trigger
    definition: str
    since: float | None
    changed_at: float = 0.0
    again: float | None = None

    @property
    def key(self) -> str:
        """Tenant and name."""
        return f"{self.tenant}/{self.name}"

    @property
    def mark(self) -> int:
        """What stands in the ids of the executions that it started."""
        return mark_of("trigger", self.key)


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a topic, as expressions see it."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    context: dict[str, Any]
    #: Why no expression can look at it, None where they can.
    fault: str | None = None

    @property
    def execution_id(self) -> str | None:
        """The execution that it is about, where it is a record of ours."""
        message = self.context["message"]
        found = message.get("execution_id") if isinstance(message, dict) else None
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Match:
    """What a record starts."""

    item: int | None
    same: str | None
    inputs: dict[str, Any] | None
    #: The value of deduplicate.key, which `runstream triggers test` shows.
    same_value: Any = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An expression of the trigger failed on a record."""

    field: str
    error: str


@dataclass(frozen=True, slots=True)
class Missed:
    """The condition does not hold."""

    item: int | None


Looked = Match | Failure | Missed


def read(
    topic: str,
    partition: int,
    offset: int,
    at_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | str | None]],
) -> Record:
    """A record as expressions see it; never raises."""
    message, text, fault = _value(value)
    context = {
        "message": message,
        "text": text,
        "key": _text(key, _MAX_KEY_BYTES),
        "headers": _headers(headers),
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": iso(at_ms / 1_000),
    }
    return Record(topic, partition, offset, at_ms, context, fault)


def look(watched: Watched, record: Record, is_over: Callable[[], bool]) -> Iterator[Looked]:
    """What the record means for a trigger, for each item of its `for_each`; never raises.

    `is_over` says whether the time for this record is used up.
    """
    ours = record.execution_id
    if ours is not None and has_mark(ours, watched.mark):
        return  # It would start itself again for ever.
    if record.fault is not None:
        yield Failure("message", record.fault)
        return
    trigger = watched.trigger
    if trigger.for_each is None:
        yield _one(trigger, record.context, None)
        return
    try:
        items = expressions.evaluate(_inner(trigger.for_each), record.context, Spent())
    except ExpressionError as error:
        yield Failure("for_each", str(error))
        return
    if not isinstance(items, list):
        yield Failure("for_each", f"it gives no list but {_kind(items)}")
        return
    if len(items) > MAX_ITEMS:
        yield Failure("for_each", f"it gives {len(items)} items; {MAX_ITEMS} are allowed")
        return
    for number, item in enumerate(items):
        if is_over():
            yield Failure(f"for_each[{number}]", "the time for one record is used up")
            return
        yield _one(trigger, {**record.context, "item": item}, number)


def _one(trigger: Trigger, context: dict[str, Any], number: int | None) -> Looked:
    spent = Spent()
    field = "when"
    try:
        if trigger.when is not None and not expressions.condition(trigger.when, context, spent):
            return Missed(number)
        same: Any = None
        if trigger.deduplicate is not None:
            field = "deduplicate.key"
            same = expressions.evaluate(_inner(trigger.deduplicate.key), context, spent)
        inputs: dict[str, Any] | None = None
        if trigger.inputs is not None:
            inputs = {}
            for name, written in trigger.inputs.items():
                field = f"inputs.{name}"
                inputs[name] = expressions.render(written, context, spent)
                _refuse_secrets(written, inputs[name])
    except ExpressionError as error:
        return Failure(_where(field, number), str(error))
    if inputs is not None:
        size = len(orjson.dumps(inputs))
        # The request adds names and ids to them.
        if size > MAX_REQUEST_BYTES - 8 * 1024:
            why = f"they have {size} bytes, and a request may have {MAX_REQUEST_BYTES}"
            return Failure(_where("inputs", number), why)
    return Match(number, None if trigger.deduplicate is None else _digest(same), inputs, same)


def _refuse_secrets(written: Any, rendered: Any) -> None:
    """Refuse a secret's name that comes from a record: whoever writes it could have any secret."""
    if isinstance(written, str):
        found = "{{" in written and _holds_secret(rendered)
    elif isinstance(written, dict):
        found = secret_references.is_meant(rendered) and rendered != written
        for name, inner in written.items():
            _refuse_secrets(inner, rendered[name])
    elif isinstance(written, list):
        found = False
        for inner, made in zip(written, rendered, strict=True):
            _refuse_secrets(inner, made)
    else:
        return
    if found:
        raise ExpressionError("a record may not name a secret; write its path in the trigger")


def _holds_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return secret_references.is_meant(value) or any(map(_holds_secret, value.values()))
    return isinstance(value, list) and any(map(_holds_secret, value))


def _value(value: bytes | None) -> tuple[Any, str | None, str | None]:
    """The JSON value, or the text of what is none, or why it is neither."""
    if value is None:
        return None, None, None
    try:
        message = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None, _text(value, MAX_TEXT_BYTES), None
    brackets = value.count(b"[") + value.count(b"{")
    if brackets > MAX_DEPTH and _is_deep(message, MAX_DEPTH):
        return None, None, f"the record is nested deeper than {MAX_DEPTH} levels"
    return message, None, None


def _is_deep(value: Any, left: int) -> bool:
    if isinstance(value, dict):
        return left == 0 or any(_is_deep(inner, left - 1) for inner in value.values())
    if isinstance(value, list):
        return left == 0 or any(_is_deep(inner, left - 1) for inner in value)
    return False


def _headers(given: Sequence[tuple[str, bytes | str | None]]) -> dict[str, str]:
    """The last value of each name, as far as it is text."""
    found: dict[str, str] = {}
    for name, value in given[:_MAX_HEADERS]:
        text = value if isinstance(value, str) else _text(value, _MAX_HEADER_BYTES)
        if text is not None:
            found[name] = text
    return found


def _text(value: bytes | None, most: int) -> str | None:
    if value is None or len(value) > most:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _inner(text: str) -> str:
    stripped = text.strip()
    if stripped.startswith("{{") and stripped.endswith("}}"):
        return stripped[2:-2]
    return stripped


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _where(field: str, number: int | None) -> str:
    return field if number is None else f"{field} (item {number})"


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
