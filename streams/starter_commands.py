"""What is said to a schedule or a trigger alike: by whom, about which one, and to go on or not."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from streams.actors import ANONYMOUS, Actor
from streams.on_behalf import MEANING, OnBehalfOf
from streams.procedures import TENANT
from streams.started import StarterName

#: Of what another version may have more fields.
OPEN: Final = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, defer_build=True)
#: A field that means nothing is a misspelling, and it would not do what was meant.
CLOSED: Final = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, defer_build=True)
DAY: Final = 86_400


class StarterCommand(BaseModel):
    """A command of an operator about the schedule or trigger of this name."""

    model_config = OPEN

    tenant: str = Field(default="default", pattern=TENANT)
    name: StarterName
    actor: Actor = ANONYMOUS
    on_behalf_of: OnBehalfOf | None = Field(default=None, description=MEANING)


class Remove(StarterCommand):
    """Forget it; executions that it started go on."""

    type: Literal["remove"] = "remove"


class Pause(StarterCommand):
    """Start nothing until it is resumed."""

    type: Literal["pause"] = "pause"
    reason: str | None = Field(default=None, max_length=1_000)


class Resume(StarterCommand):
    """Start again from now on."""

    type: Literal["resume"] = "resume"


def refuse_other_name(kind: str, defined: str, named: str) -> None:
    """Raises PydanticCustomError where a command names another one than it defines."""
    if defined != named:
        raise PydanticCustomError("name", f"it is not the name of the {kind}", {"field": "name"})
