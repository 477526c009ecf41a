"""Conditions and references: CEL, bounded before it is evaluated.

`{{ steps.scan.output.open_ports }}` in a parameter is replaced by the value; where the text is
exactly one reference the value keeps its type. Plain paths are looked up directly; everything else
is CEL. The bounds: 2,000 characters, 32 levels of brackets, and no comprehension inside another
one, so that the cost stays linear in the size of what is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import cel
import orjson

MAX_LENGTH: Final = 2_000
MAX_BRACKETS: Final = 32
MAX_VALUE_BYTES: Final = 256 * 1024

_REFERENCE: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH: Final = re.compile(
    r"^[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*|\[\d{1,6}\]|\[\"[^\"\]]{1,200}\"\])*$"
)
_PART: Final = re.compile(r"([A-Za-z_][\w-]*)|\[(\d+)\]|\[\"([^\"\]]+)\"\]")
_STRING: Final = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_MACRO: Final = re.compile(r"\.(?:all|exists|exists_one|map|filter)\s*$")
_STEP: Final = re.compile(r"\bsteps(?:\.([A-Za-z_][\w]*)|\[\s*[\"']([^\"']{1,80})[\"']\s*\])")
_ANY_STEPS: Final = re.compile(r"\bsteps\b")
_STEP_IN_PATH: Final = re.compile(r"^steps\.([A-Za-z][\w-]*)")


class ExpressionError(Exception):
    """An expression is wrong or cannot be evaluated now; the message is one sentence."""

    def __init__(self, message: str, error_class: str = "expression") -> None:
        """`error_class` is that of the step which fails with it."""
        super().__init__(message)
        self.error_class = error_class


def check(text: str) -> None:
    """Refuse an expression that is too large, nests too deep, or is not CEL (ExpressionError)."""
    text = text.strip()
    if not text:
        raise ExpressionError("the expression is empty")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"the expression has {len(text)} characters; {MAX_LENGTH} are allowed"
        )
    if not _PATH.match(text):
        _check_nesting(text)
        _compiled(text)


def _check_nesting(text: str) -> None:
    bare = _STRING.sub('""', text)
    stack: list[bool] = []
    for position, char in enumerate(bare):
        if char in "([{":
            macro = char == "(" and bool(_MACRO.search(bare, 0, position))
            if macro and any(stack):
                raise ExpressionError("a comprehension inside a comprehension is not allowed")
            stack.append(macro)
            if len(stack) > MAX_BRACKETS:
                raise ExpressionError(f"brackets nest deeper than {MAX_BRACKETS} levels")
        elif char in ")]}" and stack:
            stack.pop()


@lru_cache(maxsize=4_096)
def _compiled(text: str) -> Any:
    try:
        return cel.compile(text)
    except (ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0][:300]
        raise ExpressionError(f"not a CEL expression: {first}") from None


def step_references(text: str) -> set[str]:
    """The ids of the steps that an expression names."""
    path = _STEP_IN_PATH.match(text.strip())
    if path and _PATH.match(text.strip()):
        return {path.group(1)}
    return {first or second for first, second in _STEP.findall(text)}


def references(value: Any) -> Iterator[str]:
    """Every expression between `{{` and `}}` in a JSON value."""
    if isinstance(value, str):
        if "{{" in value:
            for found in _REFERENCE.finditer(value):
                yield found.group(1).strip()
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def has_references(value: Any) -> bool:
    """Whether anything in a JSON value is to be replaced."""
    return next(references(value), None) is not None


def evaluate(text: str, context: dict[str, Any]) -> Any:
    """The value of an expression; raises ExpressionError with the reason.

    `context` holds `steps`, `plan`, `execution` and, inside `for_each`, `item` and `index`.
    """
    text = text.strip()
    if _PATH.match(text) and text not in ("true", "false", "null"):
        return _look_up(text, context)
    check(text)
    try:
        value = _compiled(text).execute(_named(text, context))
    except (KeyError, IndexError) as error:
        raise ExpressionError(f"`{_short(text)}`: nothing is there: {error}") from None
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise ExpressionError(f"`{_short(text)}`: {first}") from None
    return _as_json(text, value)


def _named(text: str, context: dict[str, Any]) -> dict[str, Any]:
    """The context with only the steps that the expression names, so that others cost nothing."""
    names = step_references(text)
    if len(_ANY_STEPS.findall(_STRING.sub('""', text))) > len(_STEP.findall(text)):
        return context  # it looks at all of them, or chooses by a value
    return {**context, "steps": {n: context["steps"][n] for n in names if n in context["steps"]}}


def _as_json(text: str, value: Any) -> Any:
    """Refuse what JSON cannot carry (durations, bytes, NaN) or what has grown too large."""
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        raw = orjson.dumps(value)
    except TypeError:
        raise ExpressionError(f"`{_short(text)}`: the value is not JSON") from None
    if len(raw) > MAX_VALUE_BYTES:
        raise ExpressionError(f"`{_short(text)}`: the value has {len(raw)} bytes")
    return orjson.loads(raw)


def condition(text: str, context: dict[str, Any]) -> bool:
    """Evaluate a condition; ExpressionError where it does not give true or false."""
    inner = text.strip()
    if inner.startswith("{{") and inner.endswith("}}"):
        inner = inner[2:-2]
    value = evaluate(inner, context)
    if not isinstance(value, bool):
        raise ExpressionError(f"`{_short(inner)}` is not true or false but {type(value).__name__}")
    return value


def render(value: Any, context: dict[str, Any]) -> Any:
    """Replace every reference in a JSON value; ExpressionError where one cannot be resolved."""
    if isinstance(value, str):
        return _render_text(value, context) if "{{" in value else value
    if isinstance(value, dict):
        return {key: render(item, context) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, context) for item in value]
    return value


def _render_text(text: str, context: dict[str, Any]) -> Any:
    whole = _REFERENCE.fullmatch(text.strip())
    if whole and whole.group(1).count("{{") == 0:
        return evaluate(whole.group(1), context)

    def replace(found: re.Match[str]) -> str:
        value = evaluate(found.group(1), context)
        return value if isinstance(value, str) else orjson.dumps(value).decode()

    rendered = _REFERENCE.sub(replace, text)
    if len(rendered) > MAX_VALUE_BYTES:
        raise ExpressionError(f"the text has grown to {len(rendered)} characters")
    return rendered


def _look_up(path: str, context: dict[str, Any]) -> Any:
    value: Any = context
    walked = cut = ""
    for name, index, quoted in _PART.findall(path):
        if index:
            if not isinstance(value, list) or int(index) >= len(value):
                raise ExpressionError(
                    f"`{_short(path)}`: there is no item {index} in {walked}{cut}"
                )
            value = value[int(index)]
            walked += f"[{index}]"
            continue
        key = name or quoted
        if not isinstance(value, dict) or key not in value:
            where = walked or "the context"
            hint = "; the output was cut" if _is_cut(value) else ""
            raise ExpressionError(f"`{_short(path)}`: there is no {key} in {where}{hint}")
        cut = "; the output was cut" if _is_cut(value) else ""
        value = value[key]
        walked = f"{walked}.{key}" if walked else key
    return value


def _is_cut(value: Any) -> bool:
    return isinstance(value, dict) and value.get("truncated") is True


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
