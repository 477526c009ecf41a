"""Hosting: the lock keeper's partition of a number runs in the loop of the router's.

A process of its own would hold the interpreter and two more Kafka clients in memory, and plans
would wait while it is not there. Both keep their state in a changelog of their own, and talk to
each other by records only: the executions that want an asset belong to routers elsewhere too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from confluent_kafka import Message

from processors.locks.partition import KeeperPartition
from processors.locks.state import PREFIX
from processors.router.partition import RouterPartition
from runtime.kafka.partition import Output
from streams.topics import LOCK_COMMANDS


@dataclass(slots=True)
class Hosted:
    """What the loop sees as one partition."""

    router: RouterPartition
    keeper: KeeperPartition

    @property
    def suspended(self) -> Collection[str]:
        """The executions whose timers failed to run."""
        return self.router.suspended

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one record of either changelog."""
        if key.startswith(PREFIX):
            self.keeper.restore(key, value)
        else:
            self.router.restore(key, value)

    def restored(self, now: float) -> None:
        """Both changelogs are read."""
        self.keeper.restored(now)
        self.router.restored(now)

    def handle(self, message: Message, now: float, out: Output) -> None:
        """Decide about one record of a source topic."""
        if str(message.topic())[len(self.router.prefix) :] != LOCK_COMMANDS.name:
            self.router.handle(message, now, out)
            return
        fault = self.keeper.handle(message.value(), now, out)
        if fault is not None:
            self.router.writer.dead_letter(out, LOCK_COMMANDS, message, "invalid", fault)

    def dead_letter(self, message: Message, error_class: str, out: Output) -> None:
        """Send a record on which a decision failed to its dead-letter topic."""
        self.router.dead_letter(message, error_class, out)

    def next_deadline(self) -> float | None:
        """When the next timer of either is due."""
        moments = (self.router.next_deadline(), self.keeper.next_deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def tick(self, now: float, out: Output) -> None:
        """Run the timers of both that are due."""
        self.keeper.tick(now, out)
        self.router.tick(now, out)

    def suspend(self, key: str) -> None:
        """Run no timer of this execution until a record changes it."""
        self.router.suspend(key)

    def flush(self, out: Output) -> None:
        """Write both changelogs."""
        self.keeper.flush(out)
        self.router.flush(out)
