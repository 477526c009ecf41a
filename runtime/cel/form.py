"""What a CEL text looks like, by its tokens: how deep it nests, and which steps it names.

The evaluation itself is bounded elsewhere. These rules refuse at admission, with a sentence, what
would only be ended later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runtime.cel.tokens import Token, ends_operand, plain_string

MAX_BRACKETS: Final = 32
#: The macros and functions that evaluate an argument for each item.
_COMPREHENSIONS: Final = frozenset(
    {
        *("all", "exists", "exists_one", "existsOne", "map", "filter"),
        *("transformList", "transformMap", "transformMapEntry", "sortBy"),
    }
)


class FormError(ValueError):
    """The form of an expression is not allowed; the message is one sentence."""


def check_nesting(found: Sequence[Token]) -> None:
    """Refuse brackets that nest too deep, and a comprehension inside another one (FormError)."""
    inside: list[bool] = []
    for position, token in enumerate(found):
        if token.kind != "sign":
            continue
        if token.text in ("(", "[", "{"):
            before = found[position - 1] if position else None
            comprehension = (
                token.text == "("
                and before is not None
                and before.kind == "name"
                and before.text in _COMPREHENSIONS
            )
            if comprehension and any(inside):
                raise FormError("a comprehension inside a comprehension is not allowed")
            inside.append(comprehension)
            if len(inside) > MAX_BRACKETS:
                raise FormError(f"brackets nest deeper than {MAX_BRACKETS} levels")
        elif token.text in (")", "]", "}") and inside:
            inside.pop()


def named_steps(found: Sequence[Token]) -> set[str]:
    """The ids that stand as `steps.<id>` or `steps["<id>"]`; raises FormError for other uses."""
    names: set[str] = set()
    for position, token in enumerate(found):
        if token.kind == "name" and token.text == "steps" and not _is_field(found, position):
            names.add(_step_after(found, position + 1))
    return names


def step_paths(found: Sequence[Token]) -> set[tuple[str | int, ...]]:
    """What the expression looks at of each step, as far as that stands in the text."""
    paths: set[tuple[str | int, ...]] = set()
    for position, token in enumerate(found):
        if token.kind == "name" and token.text == "steps" and not _is_field(found, position):
            paths.add(("steps", *_parts_after(found, position + 1)))
    return paths


def _parts_after(found: Sequence[Token], position: int) -> list[str | int]:
    parts: list[str | int] = []
    while True:
        one, two, three = [*found[position : position + 3], *([Token("end", "")] * 3)][:3]
        if one.text == "." and two.kind == "name" and three.text != "(":
            parts.append(two.text)
            position += 2
            continue
        if one.text != "[" or three.text != "]":
            return parts
        name = plain_string(two)
        if name is None and not (two.kind == "number" and two.text.isdecimal()):
            return parts
        parts.append(int(two.text) if name is None else name)
        position += 3


def _is_field(found: Sequence[Token], position: int) -> bool:
    """Whether the name is selected from an operand, as in `item.steps`."""
    if position < 2 or found[position - 1].text != ".":
        return False
    return ends_operand(found[position - 2])


def _step_after(found: Sequence[Token], position: int) -> str:
    one, two, three = [*found[position : position + 3], *([Token("end", "")] * 3)][:3]
    if one.text == "." and two.kind == "name":
        return two.text
    name = plain_string(two)
    if one.text == "[" and name is not None and three.text == "]":
        return name
    raise FormError(
        'an expression names each step that it looks at, as steps.<id> or steps["<id>"]; '
        "it cannot choose among the steps or look at all of them"
    )


def named_inputs(found: Sequence[Token]) -> list[str]:
    """The names that stand as `inputs.<name>` or `inputs["<name>"]`."""
    names: list[str] = []
    for position, token in enumerate(found):
        if token.kind == "name" and token.text == "inputs" and not _is_field(found, position):
            parts = _parts_after(found, position + 1)
            names.extend(part for part in parts[:1] if isinstance(part, str))
    return list(dict.fromkeys(names))
