"""Inputs of a procedure: the fields of a form, and the values that their texts stand for; pure.

Whether a value is what the procedure allows is decided by the router alone; here a text becomes a
value of the declared type, or is told to be none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from reading.models.procedures import ProcedureInput

#: Before the names of inputs among the fields of a form.
PREFIX: Final = "input."
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,18}")

Control = Literal["text", "number", "choice", "lines", "json", "secret"]


@dataclass(frozen=True, slots=True)
class Field:
    """One input as a field of a form."""

    name: str
    #: The name of the field.
    field: str
    label: str
    control: Control
    required: bool
    value: str
    hints: list[str]
    #: What can be chosen, each with what it is sent as.
    choices: list[tuple[str, str]]
    minimum: float | None
    maximum: float | None
    whole: bool
    wrong: str | None


@dataclass(frozen=True, slots=True)
class Given:
    """The values of a form, and what is wrong with those that are none."""

    values: dict[str, Any]
    wrong: dict[str, str]


def fields(
    inputs: Sequence[ProcedureInput], texts: Mapping[str, str], wrong: Mapping[str, str]
) -> list[Field]:
    """The fields of these inputs, with the texts that were given, those required at the top."""
    ordered = sorted(inputs, key=lambda one: not one.required)
    return [_field(one, texts.get(one.name), wrong.get(one.name)) for one in ordered]


def values(inputs: Sequence[ProcedureInput], texts: Mapping[str, str]) -> Given:
    """What the texts stand for; an empty text of what is no secret is not given."""
    given: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for one in inputs:
        text = texts.get(one.name, "")
        if not text.strip():
            continue
        try:
            given[one.name] = _value(one, text)
        except ValueError as error:
            wrong[one.name] = str(error)
    return Given(given, wrong)


def control_of(one: ProcedureInput) -> Control:
    """What the input is typed into."""
    if one.secret:
        return "secret"
    if one.enum is not None or one.type == "boolean":
        return "choice"
    if one.type in ("integer", "number"):
        return "number"
    if one.type == "list":
        return "lines" if one.items in (None, "string", "integer", "number") else "json"
    return "json" if one.type == "object" else "text"


def _field(one: ProcedureInput, text: str | None, wrong: str | None) -> Field:
    control = control_of(one)
    return Field(
        name=one.name,
        field=f"{PREFIX}{one.name}",
        label=one.name,
        control=control,
        required=one.required,
        value=_default(one, control) if text is None else text,
        hints=_hints(one, control),
        choices=_choices(one),
        minimum=one.minimum,
        maximum=one.maximum,
        whole=one.type == "integer",
        wrong=wrong,
    )


def _default(one: ProcedureInput, control: Control) -> str:
    if one.default is None:
        return ""
    if one.enum is not None or control in ("choice", "json"):
        return _json(one.default, indent=2 if control == "json" else None)
    if control == "lines" and isinstance(one.default, list):
        return "\n".join(item if isinstance(item, str) else _json(item) for item in one.default)
    if control == "secret":
        return str(one.default.get("path", "")) if isinstance(one.default, dict) else ""
    return one.default if isinstance(one.default, str) else _json(one.default)


def _hints(one: ProcedureInput, control: Control) -> list[str]:
    hints = [one.description] if one.description else []
    if control == "secret":
        hints.append("The path of a secret, such as env/DB_PASSWORD; never the secret itself.")
    if control == "lines":
        hints.append("One per line.")
    if control == "json":
        hints.append("As JSON.")
    if one.pattern is not None:
        hints.append(f"It matches {one.pattern}")
    hints += _bounds(one)
    return hints


def _bounds(one: ProcedureInput) -> list[str]:
    unit = "item" if one.type == "list" else "character"
    lengths = (("at least", one.min_length), ("at most", one.max_length))
    sizes = (("at least", one.minimum), ("at most", one.maximum))
    found = [f"{word} {limit:g}" for word, limit in sizes if limit is not None]
    found += [
        f"{word} {limit} {unit}{'' if limit == 1 else 's'}"
        for word, limit in lengths
        if limit is not None
    ]
    return [f"{', '.join(found).capitalize()}."] if found else []


def _choices(one: ProcedureInput) -> list[tuple[str, str]]:
    if one.secret:
        return []
    every = one.enum if one.enum is not None else [True, False]
    if one.enum is None and one.type != "boolean":
        return []
    return [(_json(value), value if isinstance(value, str) else _json(value)) for value in every]


def _value(one: ProcedureInput, text: str) -> Any:
    control = control_of(one)
    if control == "secret":
        return {"type": "secret", "path": text.strip()}
    if control in ("choice", "json"):
        return _parsed(text, "JSON")
    if control == "number":
        return _number(text.strip(), whole=one.type == "integer")
    if control == "lines":
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return [_item(line, one.items or "string") for line in lines]
    return text.replace("\r\n", "\n")


def _item(line: str, kind: str) -> Any:
    return line if kind == "string" else _number(line, whole=kind == "integer")


def _number(text: str, *, whole: bool) -> int | float:
    if _WHOLE.fullmatch(text):
        return int(text)
    if whole:
        raise ValueError(f"{text[:60]!r} is no whole number: write one such as 3")
    found = _parsed(text, "number")
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"{text[:60]!r} is no number: write one such as 0.5")
    return found


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError(f"{text[:60]!r} is no {what}: write it as JSON") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
