"""The base of every model."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Free text of plans, hosts and programs: shown as text, never as markup or terminal commands.
Hostile = Annotated[str, Field(description="text of a plan, host or program; not to be trusted")]

#: Where the next page begins: opaque, and of use with the same filters only.
Cursor = Annotated[
    str | None,
    Field(description="opaque; as `after` with the same filters it gives the next page, null: end"),
]


class Model(BaseModel):
    """Frozen; times are UTC, durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
