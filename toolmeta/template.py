"""Argument templates: parameters into whole arguments, by a handful of declarative forms.

- `"--lines={lines}"`: one argument; left out where a parameter it mentions is absent
- `{flag: -r, when: recursive}`: the argument, where the boolean is true
- `{if: unit, then: [...], else: [...]}`: by presence (false and null count as absent), or, with
  `is: value` or `is: [values]`, by value
- `{each: paths, then: ["{item}"]}`: for each item; of an object `{key}` and `{value}`

No expressions: what these forms cannot express is the task of a driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
from pydantic import BaseModel, Field

from toolmeta.parameters import STRICT, Name, Scalar

_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
#: Names that only exist inside `each`.
EACH_NAMES: Final = frozenset({"item", "key", "value"})
#: The keys that make an object of a JSON template a choice.
CHOICE: Final = frozenset({"choose", "from"})
#: The key that makes an object of a JSON template the first of several that is there.
FIRST: Final = frozenset({"first_of"})


class Flag(BaseModel):
    """An argument that is present if a boolean parameter is true."""

    model_config = STRICT

    flag: str = Field(min_length=1)
    when: Name


class If(BaseModel):
    """Arguments that depend on a parameter."""

    model_config = STRICT

    condition: Name = Field(alias="if")
    equals: Scalar | tuple[Scalar, ...] | None = Field(default=None, alias="is")
    then: tuple[Entry, ...]
    otherwise: tuple[Entry, ...] = Field(default=(), alias="else")

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether `then` applies."""
        value = values.get(self.condition)
        if self.equals is None:
            return value is not None and value is not False
        allowed = self.equals if isinstance(self.equals, tuple) else (self.equals,)
        return any(type(value) is type(item) and value == item for item in allowed)


class Each(BaseModel):
    """Arguments repeated for every item of an array or entry of an object."""

    model_config = STRICT

    each: Name
    then: tuple[str, ...] = Field(default=("{item}",), min_length=1)


Entry = str | Flag | If | Each
If.model_rebuild()


@lru_cache(maxsize=8_192)
def parts(text: str) -> tuple[str, ...]:
    """The text cut at its placeholders: literal, name, literal, name, … literal."""
    return tuple(_PLACEHOLDER.split(text))


def names(text: str) -> tuple[str, ...]:
    """The parameters that a template text mentions."""
    return parts(text)[1::2]


def as_text(value: Any) -> str:
    """A value inside an argument; a list joins by commas, an object becomes JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # Adding zero turns -0.0 into 0.0, whose text would begin with a dash.
        return f"{value + 0.0:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return ",".join(as_text(item) for item in value)
    return orjson.dumps(value).decode()


def fill(text: str, values: Mapping[str, Any]) -> str | None:
    """The text with its placeholders filled; None where a parameter is absent."""
    pieces = parts(text)
    if len(pieces) == 1:
        return text
    out = list(pieces)
    for index in range(1, len(pieces), 2):
        value = values.get(pieces[index])
        if value is None:
            return None
        out[index] = as_text(value)
    return "".join(out)


def render(entries: tuple[Entry, ...], values: Mapping[str, Any]) -> Iterator[str]:
    """The whole arguments, in order."""
    for entry in entries:
        if isinstance(entry, str):
            argument = fill(entry, values)
            if argument is not None:
                yield argument
        elif isinstance(entry, Flag):
            if values.get(entry.when) is True:
                yield entry.flag
        elif isinstance(entry, If):
            yield from render(entry.then if entry.holds(values) else entry.otherwise, values)
        else:
            yield from _repeat(entry, values)


def _repeat(entry: Each, values: Mapping[str, Any]) -> Iterator[str]:
    group = values.get(entry.each)
    if isinstance(group, dict):
        rounds = [{"key": key, "value": value} for key, value in group.items()]
    else:
        rounds = [{"item": item} for item in group or ()]
    for own in rounds:
        yield from render(entry.then, {**values, **own})


def fill_value(template: Any, values: Mapping[str, Any]) -> Any:
    """A JSON template filled: a string that is one placeholder keeps the parameter's type.

    Entries of objects and arrays that mention an absent parameter are left out (None).
    `{choose: operation, from: {list: …, show: …}}` is the template of the parameter's value, and
    `{first_of: [a, b]}` the first that mentions no absent parameter.
    """
    if isinstance(template, str):
        pieces = parts(template)
        if len(pieces) == 3 and not pieces[0] and not pieces[2]:
            return values.get(pieces[1])
        return fill(template, values)
    if isinstance(template, dict):
        if template.keys() == CHOICE:
            return fill_value(template["from"].get(as_text(values.get(template["choose"]))), values)
        if template.keys() == FIRST:
            found = (fill_value(item, values) for item in template["first_of"])
            return next((item for item in found if item is not None), None)
        filled = {key: fill_value(item, values) for key, item in template.items()}
        return {key: item for key, item in filled.items() if item is not None}
    if isinstance(template, list):
        found = (fill_value(item, values) for item in template)
        return [item for item in found if item is not None]
    return template
