"""Conditions and references: CEL, bounded before and while it is evaluated.

`{{ steps.scan.output.open_ports }}` in a parameter is replaced by the value; where the text is
exactly one reference the value keeps its type. Plain paths are looked up here; everything else is
CEL, which a process of its own compiles and evaluates, within limits of time and memory. It is
given only what the expression names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from runtime.cel import cut_fields
from runtime.cel.evaluation import (
    MAX_VALUE_BYTES,
    Evaluator,
    LimitExceeded,
    Refused,
    Spent,
)
from runtime.cel.form import FormError, check_nesting, named_steps, step_paths
from runtime.cel.tokens import NotTokens, tokens
from streams.limits import MAX_PARAMETERS_BYTES

MAX_LENGTH: Final = 2_000
#: References that one decision looks up, a second's work. Each item of a step has all of its step,
#: and a request has room for tens of thousands of them.
MAX_LOOKUPS: Final = 250_000
#: The moment that `now()` gives, in Unix seconds: one for a whole decision. No path spells it.
NOW: Final = "now()"
#: The error class of an expression that used too much time or memory.
LIMIT: Final = "expression_limit"

_PATH: Final = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*|\[\d{1,6}\]|\[\"[^\"\]]{1,200}\"\])*")
_LITERALS: Final = frozenset({"true", "false", "null"})
_evaluator: Evaluator | None = None


class ExpressionError(Exception):
    """An expression is wrong or cannot be evaluated now; the message is one sentence."""

    def __init__(self, message: str, error_class: str = "expression") -> None:
        """`error_class` is that of the step which fails with it."""
        super().__init__(message)
        self.error_class = error_class


def evaluate_by(evaluator: Evaluator) -> None:
    """Evaluate by this from now on; called once, when the process starts."""
    global _evaluator  # noqa: PLW0603
    _evaluator = evaluator


class _Form(NamedTuple):
    names: frozenset[str]
    steps: frozenset[str]
    paths: frozenset[tuple[cut_fields.Part, ...]] = frozenset()


def check(text: str, spent: Spent | None = None) -> None:
    """Refuse an expression that is too large, nests too deep, or is not CEL (ExpressionError)."""
    text = text.strip()
    _form(text)
    if not is_path(text):
        _ask(text, None, spent or Spent())


def step_references(text: str) -> frozenset[str]:
    """The ids of the steps that an expression names; ExpressionError where its form is wrong."""
    return _form(text.strip()).steps


def is_path(text: str) -> bool:
    """Whether the expression is a plain path, which is looked up and not evaluated."""
    return text not in _LITERALS and _PATH.fullmatch(text) is not None


@lru_cache(maxsize=4_096)
def _form(text: str) -> _Form:
    if not text:
        raise ExpressionError("the expression is empty")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"the expression has {len(text)} characters; {MAX_LENGTH} are allowed"
        )
    if is_path(text):
        parts = cut_fields.parts_of(text)
        if parts[0] != "steps":
            return _Form(frozenset(), frozenset())
        if len(parts) > 1 and isinstance(parts[1], str):
            return _Form(frozenset(), frozenset({parts[1]}))
    try:
        found = tokens(text)
        check_nesting(found)
        steps = frozenset(named_steps(found))
    except NotTokens as error:
        raise ExpressionError(f"not a CEL expression: {error}") from None
    except FormError as error:
        raise ExpressionError(str(error)) from None
    names = frozenset(one.text for one in found if one.kind == "name")
    return _Form(names, steps, frozenset(step_paths(found)))


def references(value: Any) -> Iterator[str]:
    """Every expression between `{{` and `}}` in a JSON value."""
    if isinstance(value, str):
        if "{{" in value:
            for begin, end in places(value):
                yield value[begin:end].strip()
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def places(text: str) -> Iterator[tuple[int, int]]:
    """Where each expression of a text begins and ends, without its braces; linear in the text."""
    begin = text.find("{{")
    while begin >= 0:
        end = text.find("}}", begin + 2)
        if end < 0:
            return
        yield begin + 2, end
        begin = text.find("{{", end + 2)


def has_references(value: Any) -> bool:
    """Whether anything in a JSON value is to be replaced."""
    return next(references(value), None) is not None


def evaluate(text: str, context: dict[str, Any], spent: Spent | None = None) -> Any:
    """The value of an expression; raises ExpressionError with the reason.

    `context` holds `steps`, `plan`, `execution`, NOW and, inside `for_each`, `item` and `index`.
    """
    text = text.strip()
    spent = spent or Spent()
    if is_path(text):
        spent.lookups += 1
        if spent.lookups > MAX_LOOKUPS:
            raise ExpressionError(
                f"the references due together are more than {MAX_LOOKUPS}: lower max_parallel, or "
                "refer to an object or list as a whole",
                LIMIT,
            )
        return _look_up(text, context, spent)
    form = _form(text)
    named = {name: value for name, value in context.items() if name in form.names}
    if "now" in form.names and NOW in context:
        named[NOW] = context[NOW]
    if "steps" in named:
        for path in form.paths:
            _refuse_cut(text, path, context, spent)
        steps = context["steps"]
        named["steps"] = {
            name: cut_fields.without_cut(steps[name]) for name in form.steps if name in steps
        }
    return _ask(text, named, spent)


def _ask(text: str, context: dict[str, Any] | None, spent: Spent) -> Any:
    """Compile, or evaluate with a context, in the other process; the time counts."""
    assert _evaluator is not None, "the process that uses expressions calls evaluate_by"  # noqa: S101
    try:
        return _evaluator.ask(text, context, spent)
    except Refused as error:
        raise ExpressionError(f"`{_short(text)}`: {error}") from None
    except LimitExceeded as error:
        raise ExpressionError(f"`{_short(text)}`: {error}", LIMIT) from None


def condition(text: str, context: dict[str, Any], spent: Spent | None = None) -> bool:
    """Evaluate a condition; ExpressionError where it does not give true or false."""
    inner = text.strip()
    if inner.startswith("{{") and inner.endswith("}}"):
        inner = inner[2:-2]
    value = evaluate(inner, context, spent)
    if not isinstance(value, bool):
        raise ExpressionError(f"`{_short(inner)}` is not true or false but {type(value).__name__}")
    return value


def render(value: Any, context: dict[str, Any], spent: Spent | None = None) -> Any:
    """Replace every reference in a JSON value.

    ExpressionError where one cannot be resolved, and `too_large` as soon as the values of all have
    more than MAX_PARAMETERS_BYTES: one output could stand at thousands of places.
    """
    return _Rendering(context, spent or Spent()).of(value)


@dataclass(slots=True)
class _Rendering:
    context: dict[str, Any]
    spent: Spent
    #: The bytes that the values of references may still take, as JSON.
    left: int = MAX_PARAMETERS_BYTES

    def of(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value) if "{{" in value else value
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item) for item in value]
        return value

    def _text(self, text: str) -> Any:
        pieces: list[str] = []
        at = size = 0
        for begin, end in places(text):
            value = evaluate(text[begin:end], self.context, self.spent)
            encoded = value if isinstance(value, str) else orjson.dumps(value).decode()
            self.left -= len(encoded)
            if self.left < 0:
                raise ExpressionError(
                    f"its references give more than {MAX_PARAMETERS_BYTES} bytes: "
                    "refer to a part of the output",
                    "too_large",
                )
            # What is exactly one reference keeps its type.
            if not pieces and not text[: begin - 2].strip() and not text[end + 2 :].strip():
                return value
            size += begin - 2 - at + len(encoded)
            if size > MAX_VALUE_BYTES:
                raise ExpressionError(
                    f"the text has grown to more than {MAX_VALUE_BYTES} characters"
                )
            pieces += (text[at : begin - 2], encoded)
            at = end + 2
        return "".join((*pieces, text[at:]))


def _look_up(path: str, context: dict[str, Any], spent: Spent) -> Any:
    parts = cut_fields.parts_of(path)
    value: Any = context
    for position, part in enumerate(parts):
        if isinstance(part, int):
            there = isinstance(value, list) and part < len(value)
        else:
            there = isinstance(value, dict) and part in value
        if not there:
            what = f"item {part}" if isinstance(part, int) else part
            where = cut_fields.path_of(parts[:position]) or "the context"
            hint = cut_fields.hint(parts, context)
            raise ExpressionError(f"`{_short(path)}`: there is no {what} in {where}{hint}")
        value = value[part]
    _refuse_cut(path, parts, context, spent)
    return value


def _refuse_cut(
    text: str, parts: Sequence[cut_fields.Part], context: dict[str, Any], spent: Spent
) -> None:
    reason = cut_fields.refusal(parts, context, spent)
    if reason is not None:
        raise ExpressionError(f"`{_short(text)}`: {reason}")


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
