"""Inputs: whether what a request gives is what its plan declares, and what each one is then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from processors.router.decoding import unstorable
from runtime.cel import expressions
from runtime.cel.evaluation import Spent
from streams.inputs import Input, Inputs
from toolmeta import secret_references
from toolmeta.invocation import Problem

MAX_PROBLEMS: Final = 20
#: Of lists and objects in each other, in a value.
MAX_DEPTH: Final = 50
#: What the patterns of one plan may take together, each of declarations and values.
MAX_PATTERN_SECONDS: Final = 2.0
_DECLARED: Final[TypeAdapter[dict[str, Input]]] = TypeAdapter(Inputs)
_KINDS: Final = (
    (bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"),
    (list, "list"), (dict, "object"),
)  # fmt: skip
#: Characters of a value that a sentence shows.
_SHOWN: Final = 60


def declarations(written: Any) -> dict[str, Input] | list[Problem]:
    """The inputs that a plan declares under `inputs`, each with a default that it may have."""
    if written is None:
        return {}
    if not isinstance(written, dict):
        return [Problem("plan.inputs", "it declares the inputs by name: write an object")]
    try:
        declared = _DECLARED.validate_python(written)
    except ValidationError as error:
        return [_fault(dict(fault)) for fault in error.errors(include_url=False)[:MAX_PROBLEMS]]
    problems: list[Problem] = []
    spent = Spent()
    for name, one in declared.items():
        place = f"plan.inputs.{name}"
        choices = [(f"enum[{number}]", value) for number, value in enumerate(one.enum or ())]
        if one.default is not None:
            choices.append(("default", one.default))
        wrong = [
            problem
            for field, value in choices
            for problem in _problems(f"{place}.{field}", one, value)
        ]
        if one.pattern is not None and not wrong:
            texts = {f"{place}.{field}": value for field, value in choices}
            wrong += _pattern(f"{place}.pattern", one.pattern, texts, spent)
        problems += wrong
        if len(problems) >= MAX_PROBLEMS:
            break
    return problems[:MAX_PROBLEMS] or declared


def values(
    declared: Mapping[str, Input], given: Mapping[str, Any]
) -> dict[str, Any] | list[Problem]:
    """Each declared input with its value, given or by default; null where neither is there."""
    problems: list[Problem] = []
    for name in given:
        if name not in declared:
            problems.append(Problem(f"inputs.{name[:64]}", not_declared(name, declared)))
            if len(problems) >= MAX_PROBLEMS:
                return problems
    found: dict[str, Any] = {}
    spent = Spent()
    for name, one in declared.items():
        value = given.get(name)
        if value is None:
            if one.must_be_given:
                problems.append(Problem(f"inputs.{name}", _missing(one)))
            found[name] = one.default
            continue
        wrong = list(_problems(f"inputs.{name}", one, value))
        if one.pattern is not None and not wrong:
            place = f"inputs.{name}"
            wrong += _pattern(place, one.pattern, {place: value}, spent)
        problems += wrong
        found[name] = value
    return problems[:MAX_PROBLEMS] or found


def not_declared(name: str, declared: Mapping[str, Input]) -> str:
    """The sentence about an input that the plan does not declare."""
    if not declared:
        return f"there is no input {name[:64]!r}: the plan declares none"
    near = get_close_matches(name[:64], declared, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {_listed(declared)}"
    return f"there is no input {name[:64]!r}; {hint}"


def _missing(one: Input) -> str:
    what = "a secret reference" if one.secret else f"a value of type {one.type}"
    about = "" if one.description is None else f" ({one.description[:200]})"
    return f"it is required: give {what}{about}"


def _problems(field: str, one: Input, value: Any) -> Iterator[Problem]:
    """What is wrong with a value, whatever its pattern is."""
    if one.secret:
        if secret_references.path_of(value) is None:
            yield Problem(field, f"it {secret_references.fault_of(value)}")
        return
    kind = kind_of(value)
    # Every integer is a number too.
    if kind != one.type and not (kind == "integer" and one.type == "number"):
        yield Problem(field, f"it must be of type {one.type}, and is {_a(kind)}")
        return
    unfit = _unfit(value, field)
    if unfit is not None:
        yield unfit
        return
    # A text of another type than it looks is another value: 1 is not true.
    if one.enum is not None and not any(_equal(value, choice) for choice in one.enum):
        shown = ", ".join(_short(choice) for choice in one.enum[:20])
        more = "" if len(one.enum) <= 20 else " and others"
        yield Problem(field, f"{_short(value)} is not one of {shown}{more}")
        return
    yield from _bounds(field, one, value)
    if one.items is not None:
        for number, item in enumerate(value):
            kind = kind_of(item)
            if kind != one.items and not (kind == "integer" and one.items == "number"):
                message = f"it must be of type {one.items}, and is {_a(kind)}"
                yield Problem(f"{field}[{number}]", message)
                return


def _bounds(field: str, one: Input, value: Any) -> Iterator[Problem]:
    if one.minimum is not None and value < one.minimum:
        yield Problem(field, f"{value} is less than {one.minimum:g}")
    if one.maximum is not None and value > one.maximum:
        yield Problem(field, f"{value} is more than {one.maximum:g}")
    units = "characters" if one.type == "string" else "items"
    if one.min_length is not None and len(value) < one.min_length:
        yield Problem(field, f"it has {len(value)} {units}; at least {one.min_length} are needed")
    if one.max_length is not None and len(value) > one.max_length:
        yield Problem(field, f"it has {len(value)} {units}; {one.max_length} are allowed")


def _pattern(field: str, pattern: str, texts: Mapping[str, str], spent: Spent) -> Iterator[Problem]:
    """The texts, by their fields, that do not match; `field` is that of the pattern itself.

    By the evaluator, and all at once: its regular expressions take a time that grows with the texts
    only. The empty text is there so that the pattern is read where there is no other.
    """
    if spent.seconds > MAX_PATTERN_SECONDS:
        yield Problem(field, "the patterns of all inputs take too long: give simpler ones")
        return
    context = {"texts": ["", *texts.values()], "pattern": f"^(?:{pattern})$"}
    try:
        found = expressions.evaluate("texts.filter(text, !text.matches(pattern))", context, spent)
    except expressions.ExpressionError as error:
        if error.error_class == expressions.LIMIT:
            yield Problem(field, "the pattern takes too long for it: give a simpler one")
        else:
            what = "is no regular expression (RE2), or too large"
            yield Problem(field, f"the pattern {pattern[:200]!r} {what}")
        return
    refused = frozenset(found)
    for place, text in texts.items():
        if text in refused:
            yield Problem(place, f"{_short(text)} does not match {pattern[:200]}")


def _unfit(value: Any, field: str) -> Problem | None:
    """What no plan can hold: too deep, not storable, or what would become a secret's reference."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        inner, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return Problem(field, f"it is nested deeper than {MAX_DEPTH} levels: flatten it")
        if secret_references.is_meant(inner):
            message = "it holds a reference to a secret, which only an input with `secret: true` is"
            return Problem(field, message)
        if isinstance(inner, dict):
            waiting.extend((item, depth + 1) for item in inner.values())
        elif isinstance(inner, list):
            waiting.extend((item, depth + 1) for item in inner)
    return next(unstorable(value, field), None)


def kind_of(value: Any) -> str:
    """The type of a JSON value, as inputs name it; `null` for none."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")


def _a(kind: str) -> str:
    return kind if kind == "null" else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _equal(one: Any, other: Any) -> bool:
    return kind_of(one) == kind_of(other) and bool(one == other)


def _short(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # an integer over 64 bits
        text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _listed(names: Mapping[str, Input]) -> str:
    shown = ", ".join(list(names)[:20])
    return shown if len(names) <= 20 else f"{shown} and others"


def _fault(fault: dict[str, Any]) -> Problem:
    named = (fault.get("ctx") or {}).get("field")
    parts = [str(part)[:64] for part in fault["loc"] if part != "[key]"]
    place = ".".join(["plan", "inputs", *parts, *([] if named is None else [str(named)])])
    match fault["type"]:
        case "extra_forbidden":
            known = ", ".join(Input.model_fields)
            message = f"an input has no such field; it has {known}"
        case "string_pattern_mismatch":
            message = f"it must match {fault['ctx']['pattern']}"
        case "too_long":
            message = f"at most {fault['ctx']['max_length']} are allowed"
        case "model_type":
            message = "say what it is, as an object such as {type: string}"
        case _:
            text = str(fault["msg"])
            message = text[:1].lower() + text[1:]
    return Problem(place[:200], message[:500])
