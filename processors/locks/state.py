"""What the lock keeper knows of one execution, and how it stands in `locks.state`.

A key is `lock/` and the execution id; the record under `COUNTER` holds the last token.
Leases are not written down: they are renewed in memory, and start again after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

#: How every key of this changelog begins, so that a process which reads others too can tell.
PREFIX: Final = b"lock/"
#: The key of the record with the last token; no execution id looks like it.
COUNTER: Final = PREFIX + b".counter"


#: Where an execution stands in a queue; the last is its id.
Rank = tuple[int, int, int, str]


@dataclass(slots=True)
class Party:
    """An execution that holds assets or waits for some."""

    execution_id: str
    tenant: str
    priority: int
    #: The number of its first request.
    arrival: int
    lease_seconds: float
    #: The number of the grant since which it holds something; 0 while it holds nothing.
    senior: int = 0
    #: asset -> fencing token
    tokens: dict[str, int] = field(default_factory=dict)
    #: request -> the assets that it still waits for
    requests: dict[str, list[str]] = field(default_factory=dict)
    # Derived: Unix seconds.
    expires_at: float = 0.0

    @property
    def rank(self) -> Rank:
        """Who is served first: holders by seniority, then the others by priority and arrival."""
        if self.senior:
            return 0, 0, self.senior, self.execution_id
        return 1, self.priority, self.arrival, self.execution_id


def encode(party: Party) -> bytes:
    """The record of a party."""
    return orjson.dumps(
        {
            "tenant": party.tenant,
            "priority": party.priority,
            "arrival": party.arrival,
            "lease_seconds": party.lease_seconds,
            "senior": party.senior,
            "tokens": party.tokens,
            "requests": party.requests,
        }
    )


def key_of(execution_id: str) -> bytes:
    """The key of the record of an execution."""
    return PREFIX + execution_id.encode()


def decode(key: bytes, value: bytes) -> Party:
    """The party that `encode` wrote; raises ValueError, KeyError or TypeError where it did not."""
    fields: dict[str, Any] = orjson.loads(value)
    return Party(key.removeprefix(PREFIX).decode(), **fields)


def encode_counter(number: int) -> bytes:
    """The record of the last token."""
    return orjson.dumps({"last": number})


def decode_counter(value: bytes) -> int:
    """The token that `encode_counter` wrote."""
    return int(orjson.loads(value)["last"])
