"""What the router knows of one trigger, and how it stands in `triggers.state`.

A key is `trigger/`, the tenant, `/` and the name. A trigger that was removed leaves what its
commands were signed with, until no copy of them could be taken for a new one.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from streams.procedures import record_key
from streams.triggers import Trigger

#: How every key of this changelog begins.
PREFIX: Final = b"trigger/"
VERSION: Final = 1
#: Outcomes that `show` lists.
MAX_HISTORY: Final = 20
#: Values of `deduplicate.key` that are remembered; beyond it the oldest is forgotten.
MAX_SAME: Final = 2_000
#: Partitions of a topic of which the last decided record is remembered.
MAX_PARTITIONS: Final = 5_000


class TriggerStateError(Exception):
    """The changelog holds what this version cannot read; going on would start things twice."""


@dataclass(slots=True)
class Position:
    """The record of a partition that was decided last."""

    offset: int
    item: int
    #: Its timestamp, in Unix milliseconds.
    at_ms: int


@dataclass(slots=True)
class Outcome:
    """What became of matching records; those of one kind that follow each other are one entry."""

    at: float
    #: started, repeated or limited
    what: str
    cause: str
    execution_id: str | None = None
    count: int = 1


@dataclass(slots=True)
class LastError:
    """The last record on which an expression of the trigger failed."""

    at: float
    field: str
    error: str
    record: str
    count: int


@dataclass(slots=True)
class TriggerState:
    """One trigger: as it was applied, and what it has done."""

    tenant: str
    name: str
    #: None once it was removed.
    trigger: Trigger | None
    actor: str
    #: The key of whoever applied it; None where nobody signed.
    kid: str | None
    applied_at: float
    #: Records before this moment do not count, in Unix seconds; None: all that are there do.
    since: float | None
    #: When it changed last in what it finds; then the records since `again` count once more,
    #: whoever has read them (None: all since `since`).
    changed_at: float
    again: float | None = None
    paused: bool = False
    pause_reason: str | None = None
    removed_at: float | None = None
    #: Key id -> when the last command that was followed was signed, in Unix microseconds.
    signed: dict[str, int] = field(default_factory=dict)
    #: The ids of the last commands of operators that were followed.
    followed: list[str] = field(default_factory=list)
    decided: dict[str, Position] = field(default_factory=dict)
    #: value of deduplicate.key (hashed) -> when it started, in Unix seconds; the oldest first
    same: dict[str, float] = field(default_factory=dict)
    #: When the present span of the limit began, and how many were started in it.
    span_began: float = 0.0
    span_starts: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    history: list[Outcome] = field(default_factory=list)
    last_error: LastError | None = None

    @property
    def key(self) -> str:
        """Tenant and name."""
        return record_key(self.tenant, self.name)

    @property
    def definition(self) -> str:
        """The digest that matches carry: of what was evaluated, and of the records it is for."""
        assert self.trigger is not None  # a removed one is not evaluated  # noqa: S101
        told = {"trigger": self.trigger.model_dump(mode="json"), "since": self.since}
        return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def count(self, what: str, number: int = 1) -> None:
        """Add to the counter of this name."""
        self.counts[what] = self.counts.get(what, 0) + number


def key_of(tenant: str, name: str) -> bytes:
    """The key of the record of a trigger."""
    return PREFIX + record_key(tenant, name).encode()


def encode(state: TriggerState) -> bytes:
    """The record of a trigger."""
    told = {name: getattr(state, name) for name in _PLAIN}
    told["version"] = VERSION
    told["trigger"] = None if state.trigger is None else state.trigger.model_dump(mode="json")
    told["decided"] = {
        number: [one.offset, one.item, one.at_ms] for number, one in state.decided.items()
    }
    told["history"] = [asdict(one) for one in state.history]
    told["last_error"] = None if state.last_error is None else asdict(state.last_error)
    return orjson.dumps(told)


def decode(value: bytes) -> TriggerState:
    """The trigger that `encode` wrote; raises ValueError, KeyError or TypeError if it did not."""
    told: dict[str, Any] = orjson.loads(value)
    version = told.pop("version")
    if version != VERSION:
        raise ValueError(f"version {version} of a trigger's record; {VERSION} is known here")
    trigger, error = told.pop("trigger"), told.pop("last_error")
    return TriggerState(
        trigger=None if trigger is None else Trigger.model_validate(trigger),
        decided={number: Position(*one) for number, one in told.pop("decided").items()},
        history=[Outcome(**one) for one in told.pop("history")],
        last_error=None if error is None else LastError(**error),
        **told,
    )


_PLAIN: Final = (
    "tenant", "name", "actor", "kid", "applied_at", "since", "changed_at", "again",
    "paused", "pause_reason", "removed_at", "followed", "signed", "same", "span_began",
    "span_starts", "counts",
)  # fmt: skip
