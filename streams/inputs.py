"""The inputs that a plan declares: their types, defaults and bounds; pure data.

Whether the values of a request are what is declared is decided at admission, by
`processors.router.input_values`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from pydantic_core import PydanticCustomError

#: A name that a plain reference, a CEL expression and `--set` can spell.
INPUT_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
MAX_INPUTS: Final = 100

InputType = Literal["string", "integer", "number", "boolean", "list", "object"]
InputName = Annotated[str, Field(pattern=INPUT_NAME)]

#: Which fields narrow the values of which types.
_NARROWS: Final[dict[str, tuple[str, ...]]] = {
    "pattern": ("string",),
    "minimum": ("integer", "number"),
    "maximum": ("integer", "number"),
    "min_length": ("string", "list"),
    "max_length": ("string", "list"),
    "items": ("list",),
}


class Input(BaseModel):
    """One input of a plan; a field that is not known is a misspelling, and refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, defer_build=True)

    type: InputType = "string"
    description: str | None = Field(default=None, max_length=1_000)
    default: Any = Field(default=None, description="what it is where a request does not give it")
    required: bool | None = Field(
        default=None,
        description="whether a request must give it; if absent, it must where there is no default",
    )
    enum: list[Any] | None = Field(
        default=None, min_length=1, max_length=1_000, description="the values that it may have"
    )
    pattern: str | None = Field(
        default=None,
        max_length=500,
        description="a regular expression (RE2) that the whole text must match",
    )
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    min_length: int | None = Field(default=None, ge=0, description="characters, or items of a list")
    max_length: int | None = Field(default=None, ge=0, description="characters, or items of a list")
    items: InputType | None = Field(default=None, description="the type of each item of a list")
    secret: bool = Field(
        default=False,
        description="it takes a reference to a secret only, and may only stand, as a whole, where "
        "a parameter is a secret",
    )

    @property
    def must_be_given(self) -> bool:
        """Whether a request without it is refused."""
        return self.default is None if self.required is None else self.required

    @model_validator(mode="after")
    def _consistent(self) -> Input:
        for field, types in _NARROWS.items():
            if getattr(self, field) is not None and self.type not in types:
                raise _fault(field, f"it is for {' and '.join(types)} only: take it out")
        if self.enum is not None and self.pattern is not None:
            raise _fault("pattern", "enum says already what it may be: take out one of the two")
        if self.required and self.default is not None:
            raise _fault("default", "a required input needs none: take out one of the two")
        if self.secret:
            for field in ("enum", "pattern", "min_length", "max_length"):
                if getattr(self, field) is not None:
                    raise _fault(field, "the value of a secret is not known here: take it out")
            if self.type != "string":
                raise _fault("type", "a secret is a string: take it out")
        return self


Inputs = Annotated[dict[InputName, Input], Field(max_length=MAX_INPUTS)]


def _fault(field: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("input", message, {"field": field})
