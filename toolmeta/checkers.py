"""Checkers: each shape of a value compiled once into a plain function."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from toolmeta import secret_references
from toolmeta.durations import seconds_of
from toolmeta.formats import FORMATS
from toolmeta.invocation import Problem
from toolmeta.parameters import MAX_INTEGER, MAX_ITEMS, MAX_STRING, Shape

#: Bounds of a value whose shape is free.
_MAX_DEPTH: Final = 32
_MAX_NODES: Final = 20_000
_MAX_FREE_STRING: Final = 262_144

#: Keys of objects become header, variable and label names: never an option, one line.
_KEY: Final = re.compile(r"[^-\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,255}")


class Allowed(NamedTuple):
    """What is accepted in place of a value."""

    references: bool
    secrets: bool


_IN_CODE: Final = (
    "holds {{ … }}: what a run fills in would become code that nobody has read; give it as an "
    "argument or a variable, or put a script with braces into the library"
)

Check = Callable[[Any, str, Allowed, list[Problem]], None]

_KINDS: Final = {
    str: "text", bool: "true or false", int: "a whole number", float: "a number",
    list: "a list", dict: "an object", type(None): "null",
}  # fmt: skip


def kind(value: Any) -> str:
    """The kind of value, as messages name it."""
    return _KINDS.get(type(value), "something else")


def is_reference(value: Any) -> bool:
    """Whether it is text that holds a `{{ … }}` reference, whose value comes later."""
    return type(value) is str and "{{" in value and "}}" in value.partition("{{")[2]


def _text_remedy(value: Any) -> str:
    """How to give text instead; quotes help only where the value is a single word or number."""
    if type(value) is list and len(value) == 1 and type(value[0]) is str:
        return "give its only entry without the list"
    if type(value) in (list, dict):
        return 'give one text, such as "value"'
    return "put it in quotes"


def text_fault(value: str, longest: int) -> str | None:
    """Why no program or table can hold the text; None where they can."""
    if len(value) > longest:
        return f"is too long: {len(value)} characters, at most {longest} are allowed"
    if "\x00" in value:
        return "holds a NUL character; remove it"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "is not valid Unicode text (a lone surrogate); send it as UTF-8"
    return None


def compile_shape(shape: Shape, *, guarded: bool = False) -> Check:
    """The function that checks a value of this shape; it appends what is wrong.

    With `guarded` no value may begin with a dash, since the program would read it as an option.
    """
    match shape.type:
        case "string":
            inner = _string(shape, guarded)
        case "integer" | "number" | "duration":
            inner = _number(shape, guarded)
        case "boolean":
            inner = _boolean(shape)
        case "array":
            inner = _array(shape, guarded)
        case "object":
            inner = _object(shape, guarded)
        case _:
            inner = _any(shape)
    secret, literal = shape.secret, shape.literal

    def check(value: Any, field: str, allowed: Allowed, problems: list[Problem]) -> None:
        if type(value) is str and allowed.references and is_reference(value):
            fault = _IN_CODE if literal else text_fault(value, _MAX_FREE_STRING)
            if fault is not None:
                problems.append(Problem(field, fault))
        elif secret_references.is_meant(value) and shape.type != "object":
            if not secret:
                problems.append(Problem(field, "takes no secret reference; give the value itself"))
            elif (fault := _secret_fault(value, allowed)) is not None:
                problems.append(Problem(field, fault))
        else:
            inner(value, field, allowed, problems)

    return check


def _refused_option(value: str, refused: tuple[str, ...]) -> str | None:
    """The refused option that the text names.

    Programs accept any beginning of a long option that is no other option's, and which those are
    differs by version and subcommand: every beginning of a refused one counts as its name.
    """
    name = value[2:].partition("=")[0]
    if not value.startswith("--") or not name:
        return None
    for option in refused:
        known = option.rstrip("*")
        if known.startswith(name) or (known != option and name.startswith(known)):
            return known
    return None


def _string(shape: Shape, guarded: bool) -> Check:
    shortest = shape.min_length or 0
    longest = shape.max_length or MAX_STRING
    choices = None if shape.enum is None else frozenset(shape.enum)
    listed = ", ".join(str(item) for item in shape.enum or ())
    pattern = None if shape.pattern is None else re.compile(shape.pattern).fullmatch
    form = None if shape.format is None else FORMATS[shape.format]

    def fault_of(value: Any) -> str | None:
        if type(value) is not str:
            return f"must be text, not {kind(value)}; {_text_remedy(value)}"
        if choices is not None:
            return None if value in choices else f"must be one of {listed}"
        fault = text_fault(value, longest)
        if fault is not None:
            return fault
        if len(value) < shortest:
            return f"must have at least {shortest} character{'s' if shortest > 1 else ''}"
        if form is not None and not form.accepts(value):
            return f"must be {form.wanted}"
        if pattern is not None and not pattern(value):
            return f"must match {shape.pattern}"
        option = _refused_option(value, shape.refused_options)
        if option is not None:
            return f"must not give the option --{option}, nor an abbreviation of it"
        if guarded and value.startswith("-"):
            return "must not begin with a dash, which the program would read as an option"
        return None

    def check(value: Any, field: str, allowed: Allowed, problems: list[Problem]) -> None:
        fault = fault_of(value)
        if fault is not None:
            problems.append(Problem(field, fault))

    return check


def _number(shape: Shape, guarded: bool) -> Check:
    wanted, kinds = {
        "integer": ("a whole number", (int,)),
        "number": ("a number", (int, float)),
        "duration": ("seconds, or text such as 90s, 15m, 1h30m, 2d", (int, float, str)),
    }[shape.type]
    as_duration = shape.type == "duration"
    low = shape.minimum if shape.minimum is not None else (0 if as_duration else -MAX_INTEGER - 1)
    if guarded:
        low = max(low, 0)
    high = shape.maximum if shape.maximum is not None else MAX_INTEGER
    unit = " seconds" if as_duration else ""
    choices = shape.enum

    def check(value: Any, field: str, allowed: Allowed, problems: list[Problem]) -> None:
        number = seconds_of(value) if as_duration and type(value) is str else value
        # An integer of any size is finite, and too large a one for isfinite.
        if (
            type(value) not in kinds
            or number is None
            or (type(number) is float and not math.isfinite(number))
        ):
            problems.append(Problem(field, f"must be {wanted}, not {_shown(value)}"))
        elif number < low:
            problems.append(Problem(field, f"must be at least {low:g}{unit}"))
        elif number > high:
            problems.append(Problem(field, f"must be at most {high:g}{unit}"))
        elif choices is not None and number not in choices:
            listed = ", ".join(str(item) for item in choices)
            problems.append(Problem(field, f"must be one of {listed}"))

    return check


def _shown(value: Any) -> str:
    if type(value) is float:
        return str(value)
    return f"the text {value[:40]!r}" if type(value) is str else kind(value)


def _boolean(shape: Shape) -> Check:
    choices = shape.enum

    def check(value: Any, field: str, allowed: Allowed, problems: list[Problem]) -> None:
        if type(value) is not bool:
            problems.append(Problem(field, f"must be true or false, not {_shown(value)}"))
        elif choices is not None and value not in choices:
            problems.append(Problem(field, f"must be {'false' if value else 'true'}"))

    return check


def _size_fault(shape: Shape, size: int) -> str | None:
    if size < (shape.min_items or 0):
        return f"must have at least {shape.min_items} entries"
    most = shape.max_items or MAX_ITEMS
    return f"has {size} entries; at most {most} are allowed" if size > most else None


def _array(shape: Shape, guarded: bool) -> Check:
    check_item = compile_shape(shape.items, guarded=guarded) if shape.items else _any(shape)
    lone = shape.lone

    def check(value: Any, field: str, allowed: Allowed, problems: list[Problem]) -> None:
        if type(value) is not list and lone:
            check_item(value, field, allowed, problems)
            return
        if type(value) is not list:
            problems.append(Problem(field, f"must be a list, not {kind(value)}; write [value]"))
            return
        fault = _size_fault(shape, len(value))
        if fault is not None:
            problems.append(Problem(field, fault))
            return
        for index, item in enumerate(value):
            check_item(item, f"{field}[{index}]", allowed, problems)

    return check


def _object(shape: Shape, guarded: bool) -> Check:
    check_value = compile_shape(shape.values, guarded=guarded) if shape.values else _any(shape)

    def check(value: Any, field: str, allowed: Allowed, problems: list[Problem]) -> None:
        if type(value) is not dict:
            problems.append(Problem(field, f"must be an object, not {kind(value)}"))
            return
        fault = _size_fault(shape, len(value))
        if fault is not None:
            problems.append(Problem(field, fault))
            return
        for key, item in value.items():
            if type(key) is not str or not _KEY.fullmatch(key) or text_fault(key, 256):
                problems.append(Problem(field, f"has a key that is no plain name: {key!r:.60}"))
            else:
                check_value(item, f"{field}.{key}", allowed, problems)

    return check


def _any(shape: Shape) -> Check:
    """Any JSON value within bounds; walked without recursion, so that depth is no problem."""

    def check(value: Any, field: str, allowed: Allowed, problems: list[Problem]) -> None:
        waiting: list[tuple[Any, int]] = [(value, 0)]
        for seen, (item, depth) in enumerate(_drain(waiting)):
            fault = _node_fault(item, depth, shape, allowed)
            if seen >= _MAX_NODES:
                fault = f"has more than {_MAX_NODES} values; send less"
            if fault is not None:
                problems.append(Problem(field, fault))
                return
            if type(item) is dict and not (shape.secret and secret_references.is_meant(item)):
                waiting.extend((part, depth + 1) for pair in item.items() for part in pair)
            elif type(item) is list:
                waiting.extend((part, depth + 1) for part in item)

    return check


def _drain(waiting: list[tuple[Any, int]]) -> Any:
    while waiting:
        yield waiting.pop()


def _node_fault(item: Any, depth: int, shape: Shape, allowed: Allowed) -> str | None:
    if depth > _MAX_DEPTH:
        return f"is nested deeper than {_MAX_DEPTH} levels; flatten it"
    if type(item) is str:
        return text_fault(item, _MAX_FREE_STRING)
    if type(item) is float:
        return None if math.isfinite(item) else f"holds {item}, which JSON cannot carry"
    if type(item) is int:
        return None if abs(item) <= MAX_INTEGER else "holds a number beyond 64 bits; send text"
    if type(item) not in (bool, list, dict, type(None)):
        return f"holds {type(item).__name__}, which JSON cannot carry"
    if shape.secret and secret_references.is_meant(item):
        fault = _secret_fault(item, allowed)
        return None if fault is None else f"holds an object that {fault}"
    return None


def _secret_fault(value: dict[str, Any], allowed: Allowed) -> str | None:
    if not allowed.secrets:
        return "is a secret reference that was not resolved"
    return secret_references.fault(value)
