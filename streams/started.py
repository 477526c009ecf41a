"""What started an execution by itself: a schedule or a trigger, on behalf of who applied it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

#: Schedules and triggers are named as procedures are.
STARTER_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,99}$"
#: Bits of an execution id that are free: 42 in `streams.ids.mint_execution_id`.
MARK_BITS: Final = 42
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


def mark_of(kind: str, key: str) -> int:
    """The bits of an execution id by which the schedule or trigger of this key knows its own.

    They stand where other ids have random bits; see `streams.ids.mint_execution_id`.
    """
    digest = hashlib.sha256(f"{kind}:{key}".encode()).digest()
    return int.from_bytes(digest[:6]) & ((1 << MARK_BITS) - 1)


def has_mark(execution_id: str, mark: int) -> bool:
    """Whether an execution id was made with these bits."""
    digits = execution_id.replace("-", "")
    if len(digits) != 32:
        return False
    try:
        value = int(digits, 16)
    except ValueError:
        return False
    high, low = value >> 64 & 0xFFF, value >> 32 & 0x3FFFFFFF
    return high << 30 | low == mark
