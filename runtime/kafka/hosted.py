"""The interface of what decides in the loop of another processor, for the same partition number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import Message

from runtime.kafka.partition import Output
from streams.topics import Topic


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record becomes a dead letter: a stable class, and a sentence."""

    error_class: str
    message: str


class HostedPartition(Protocol):
    """Decides about the records of one source topic, with a changelog of its own.

    The keys of its changelog begin with `prefix`, so that the host can tell whose they are.
    """

    @property
    def source(self) -> Topic:
        """The topic whose records it decides about."""

    @property
    def prefix(self) -> bytes:
        """How each key of its changelog begins; no other's does."""

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record, oldest first."""

    def restored(self, now: float) -> None:
        """The changelog is read; timers start."""

    def handle(self, message: Message, now: float, out: Output) -> Fault | None:
        """Decide about one record; what is returned makes a dead letter of it."""

    def next_deadline(self) -> float | None:
        """When `tick` is due, in Unix seconds."""

    def tick(self, now: float, out: Output) -> None:
        """Decide about timers that are due."""

    def flush(self, out: Output) -> None:
        """The batch is over: send the changelog of what has changed."""
