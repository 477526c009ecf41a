"""Locks: what the router asks of the lock keeper, and what the keeper answers.

Commands are keyed by tenant, so that all assets of a tenant are kept in one partition: several
are granted at once or not at all. Answers are keyed by the execution's route key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from streams.limits import MAX_INTEGER, MAX_LOCK_BYTES

_OPEN = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, defer_build=True)

#: An asset by the key under which it is locked: `toolmeta.locking.lock_key`.
Asset = Annotated[str, Field(min_length=1, max_length=253)]
Token = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
#: A token of 19 digits, a colon and a comma, beside the name in its quotes.
_TOKEN_BYTES: Final = 21
#: No name is shorter than what MAX_LOCK_BYTES counts for each.
MAX_ASSETS = MAX_LOCK_BYTES // 24
#: Assets whose names one command may give.
MAX_NAMED = 10_000
Tokens = Annotated[
    dict[Asset, Token],
    Field(description="asset -> fencing token, which grows with each grant"),
]


def bytes_of(assets: Iterable[str]) -> int:
    """What these assets take of a record with their tokens, however their names are escaped."""
    return sum(len(orjson.dumps(asset)) + _TOKEN_BYTES for asset in assets)


class _Message(BaseModel):
    model_config = _OPEN

    execution_id: str = Field(min_length=36, max_length=36)
    tenant: str = Field(min_length=1, max_length=256)


class Acquire(_Message):
    """The execution wants these assets besides those that it holds: all of them or none."""

    type: Literal["acquire"] = "acquire"
    request: str = Field(
        min_length=1, max_length=128, description="the step that needs them; again: replaced"
    )
    assets: list[Asset] = Field(min_length=1, max_length=MAX_ASSETS)
    priority: int = Field(ge=1, le=10, description="1 is served first, then by arrival")
    lease_seconds: float = Field(gt=0, le=86_400)


class Renew(_Message):
    """The execution lives: its locks are kept for another lease."""

    type: Literal["renew"] = "renew"


class Release(_Message):
    """The execution has ended: everything that it holds or waits for is given up."""

    type: Literal["release"] = "release"


class AssetNames(BaseModel):
    """Under which names the inventory has an asset; none: it has been removed."""

    model_config = _OPEN

    asset_id: int = Field(ge=1, le=MAX_INTEGER)
    names: list[Asset] = Field(max_length=8)


class Name(_Message):
    """Whoever locks an asset by one of these names locks it by all of them.

    From the result of an asset tool, which the execution ran.
    """

    type: Literal["name"] = "name"
    assets: list[AssetNames] = Field(max_length=MAX_NAMED)


AnyLockCommand = Acquire | Renew | Release | Name
LOCK_COMMAND: TypeAdapter[AnyLockCommand] = TypeAdapter(
    Annotated[AnyLockCommand, Field(discriminator="type")], config=ConfigDict(defer_build=True)
)


class Granted(_Message):
    """The execution holds these assets until it releases them or its lease ends."""

    type: Literal["granted"] = "granted"
    request: str = Field(max_length=128)
    tokens: Tokens


class Queued(_Message):
    """The request waits; said when it comes, and again each time it is repeated."""

    type: Literal["queued"] = "queued"
    request: str = Field(max_length=128)
    asset: Asset
    holder: str = Field(description="the execution that has this asset, or gets it before")
    held: bool = Field(description="whether that execution has it already")


class Refused(_Message):
    """The request was dropped: two executions would wait for each other for ever."""

    type: Literal["refused"] = "refused"
    request: str = Field(max_length=128)
    asset: Asset
    holder: str


class Expired(_Message):
    """The lease ended without a renewal; these assets may belong to others now."""

    type: Literal["expired"] = "expired"
    tokens: Tokens


AnyLockAnswer = Granted | Queued | Refused | Expired
LOCK_ANSWER: TypeAdapter[AnyLockAnswer] = TypeAdapter(
    Annotated[AnyLockAnswer, Field(discriminator="type")], config=ConfigDict(defer_build=True)
)
