"""Records of a lane for tests without a broker: with a place, a time of arrival and a priority."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME

TOPIC = "p.steps.test"


@dataclass(frozen=True)
class Waiting:
    """A record as the client gives it."""

    number: int
    at: int
    priority: int = 5
    arrived_at: float = 0.0
    raw: bytes | None = None
    #: Whether the topic has the broker's times.
    by_broker: bool = True

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes | None:
        return orjson.dumps({"priority": self.priority}) if self.raw is None else self.raw

    def timestamp(self) -> tuple[int, int]:
        kind = TIMESTAMP_LOG_APPEND_TIME if self.by_broker else TIMESTAMP_CREATE_TIME
        return kind, int(self.arrived_at * 1_000)

    def __len__(self) -> int:
        return len(self.value() or b"")


def waiting(at: int, priority: int = 5, arrived_at: float = 0.0, **given: Any) -> Any:
    """One of partition 0, unless `number` says another one."""
    return Waiting(given.pop("number", 0), at, priority, arrived_at, **given)
