"""The interface between the exactly-once loop and the code that decides for one partition."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from confluent_kafka import Message

from streams.topics import Topic


class DecisionError(Exception):
    """A defect: a timer of the state under `key` was due, and the decision raised."""

    def __init__(self, key: str) -> None:
        """`key` is what `Partition.suspend` takes."""
        super().__init__(key)
        self.key = key


class Output(Protocol):
    """Where deciders send; the first record begins the transaction."""

    def send(
        self,
        topic: Topic,
        key: bytes,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        """Add one record to the transaction."""

    def send_named(
        self,
        name: str,
        key: bytes | None,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        """The same, by the topic's full name."""


class Partition(Protocol):
    """Decides for one partition: state in memory, with a few entry points.

    Any of `handle`, `tick` and `flush` may raise; the loop then drops this object and restores a
    new one from the changelog.
    """

    @property
    def suspended(self) -> Collection[str]:
        """The keys that `suspend` was called for and that no record has changed since."""

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record, oldest first."""

    def restored(self, now: float) -> None:
        """The changelog is read; timers start."""

    def handle(self, message: Message, now: float, out: Output) -> None:
        """Decide about one record."""

    def dead_letter(self, message: Message, error_class: str, out: Output) -> None:
        """Send a record that cannot be decided about to its dead-letter topic.

        `error_class` is `decision_failed`, or `decision_crashed` where it ended the process.
        """

    def next_deadline(self) -> float | None:
        """When `tick` is due, in Unix seconds."""

    def tick(self, now: float, out: Output) -> None:
        """Decide about timers that are due; raises DecisionError where that fails for one key."""

    def suspend(self, key: str) -> None:
        """Run no timer of this key until a record changes it: its last decision failed."""

    def flush(self, out: Output) -> None:
        """The batch is over: send what was held back (changelog records)."""
