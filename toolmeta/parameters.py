"""Parameters of a tool: what a definition may say about a value."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from toolmeta.formats import FORMATS

#: Strings are bounded even where a definition states no bound.
MAX_STRING: Final = 4_096
#: Entries of an array or object, where a definition states no bound.
MAX_ITEMS: Final = 1_000
#: Postgres and most programs have no larger integers than 64 bits.
MAX_INTEGER: Final = 2**63 - 1


def _compiling(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return text


RegularExpression = Annotated[str, AfterValidator(_compiling)]
Type = Literal["string", "integer", "number", "boolean", "array", "object", "duration", "any"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
#: A parameter, or one field of a parameter that is an object: `metadata.connection`.
Place = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63})?$")]
#: Without its dashes; a star at the end stands for any rest.
OptionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}\*?$")]
Scalar = str | int | float | bool

STRICT: Final = ConfigDict(
    strict=True,
    extra="forbid",
    frozen=True,
    allow_inf_nan=False,
    populate_by_name=True,
    defer_build=True,
)

_NUMBERS: Final = frozenset({"integer", "number", "duration"})

#: Types that each constraint applies to; for others it would have no effect and is refused.
_APPLIES: Final[dict[str, frozenset[str]]] = {
    "minimum": _NUMBERS,
    "maximum": _NUMBERS,
    "min_length": frozenset({"string"}),
    "max_length": frozenset({"string"}),
    "pattern": frozenset({"string"}),
    "format": frozenset({"string"}),
    "enum": frozenset({"string", "integer", "number", "boolean"}),
    "items": frozenset({"array"}),
    "values": frozenset({"object"}),
    "min_items": frozenset({"array", "object"}),
    "max_items": frozenset({"array", "object"}),
    "lone": frozenset({"array"}),
    "secret": frozenset({"string", "any"}),
    "refused_options": frozenset({"string"}),
    "literal": frozenset({"string"}),
}


class Shape(BaseModel):
    """What a value must look like; also of the items of an array and the values of an object.

    `pattern` must match the whole value. Bounds of a `duration` are seconds; a duration is written
    as a number of seconds or as text such as `90s`, `15m`, `1h30m`, `2d`.
    """

    model_config = STRICT

    type: Type
    enum: tuple[str | int | float | bool, ...] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=1, le=1_048_576)
    pattern: RegularExpression | None = None
    format: str | None = None
    items: Shape | None = None
    values: Shape | None = None
    min_items: int | None = Field(default=None, ge=0)
    max_items: int | None = Field(default=None, ge=1, le=100_000)
    lone: bool = Field(default=False, description="a single item needs no list")
    secret: bool = Field(
        default=False, description="a secret reference is accepted; never part of an argv"
    )
    literal: bool = Field(
        default=False, description="takes no template: what stands there is code, and is approved"
    )
    refused_options: tuple[OptionName, ...] = Field(
        default=(), description="long options that the text may neither name nor abbreviate"
    )

    @model_validator(mode="after")
    def _has_effect(self) -> Shape:
        for name, types in _APPLIES.items():
            if getattr(self, name) not in (None, False, ()) and self.type not in types:
                raise ValueError(f"{name} has no effect on a value of type {self.type}")
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"unknown format {self.format!r}; known: {', '.join(sorted(FORMATS))}")
        if self.type == "array" and self.items is None:
            raise ValueError("an array needs items")
        return self


class Refused(BaseModel):
    """Texts that a parameter may not hold beside some values of another one."""

    model_config = STRICT

    parameter: Name
    values: tuple[Scalar, ...] = Field(alias="is", min_length=1)
    text: RegularExpression = Field(
        min_length=1, max_length=300, description="matches the whole text"
    )
    why: str = Field(min_length=10, max_length=200)


class Parameter(Shape):
    """One parameter of a tool."""

    description: str = Field(min_length=3, max_length=300)
    required: bool = False
    required_if: dict[Name, tuple[Scalar, ...]] = Field(
        default_factory=dict, description="also required when the named parameter has such a value"
    )
    instead: tuple[Name, ...] = Field(
        default=(), description="parameters beside which this one is not required after all"
    )
    only_if: dict[Name, tuple[Scalar, ...]] = Field(
        default_factory=dict, description="refused where the named parameter has another value"
    )
    refused_where: tuple[Refused, ...] = Field(
        default=(), description="texts, or items of an array, refused beside a value of another one"
    )
    needs: tuple[Name, ...] = Field(
        default=(), description="parameters without which this one means nothing"
    )
    default: Any = None
    aliases: tuple[Name, ...] = ()
    examples: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Parameter:
        if self.required and self.default is not None:
            raise ValueError("a required parameter has no use for a default")
        if self.instead and not self.required_if:
            raise ValueError("instead has no effect without required_if")
        if self.secret and self.default is not None:
            raise ValueError("a secret has no default")
        return self
