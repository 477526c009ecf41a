"""What started an execution by itself: a schedule or a trigger, on behalf of who applied it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

#: Schedules and triggers are named as procedures are.
STARTER_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,99}$"
StarterName = Annotated[str, Field(pattern=STARTER_NAME)]


@dataclass(slots=True)
class StartedBy:
    """The schedule or trigger that a request came from; only a router may say so, and signs it."""

    kind: Literal["schedule", "trigger"]
    name: StarterName
    cause: Annotated[
        str,
        Field(
            min_length=1,
            max_length=400,
            description="of a schedule the moment that was due, in UTC; of a trigger the record: "
            "topic, partition and offset with slashes between them",
        ),
    ]
    key: Annotated[
        str | None,
        Field(
            max_length=64,
            description="id of the key that whoever applied it signed with; the request has the "
            "rights of this actor, as long as the key counts",
        ),
    ] = None
