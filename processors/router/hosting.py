"""Hosting: what decides for the same partition number runs in the loop of the router's.

A process of its own would hold the interpreter and two more Kafka clients in memory, and plans
would wait while it is not there. Each keeps its state in a changelog of its own, and they talk to
each other by records only: the executions that want an asset belong to routers elsewhere too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message

from processors.locks.partition import KeeperPartition
from processors.router.partition import RouterPartition
from runtime.kafka.hosted import HostedPartition
from runtime.kafka.partition import Output


@dataclass(slots=True)
class Hosted:
    """What the loop sees as one partition."""

    router: RouterPartition
    keeper: KeeperPartition
    others: Sequence[HostedPartition] = ()
    #: All but the router, and by the names of their topics.
    guests: tuple[HostedPartition, ...] = field(init=False)
    _by_topic: dict[str, HostedPartition] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is restored yet."""
        self.guests = (self.keeper, *self.others)
        self._by_topic = {guest.source.name: guest for guest in self.guests}

    @property
    def suspended(self) -> Collection[str]:
        """The executions whose timers failed to run."""
        return self.router.suspended

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one record of any changelog."""
        for guest in self.guests:
            if key.startswith(guest.prefix):
                guest.restore(key, value)
                return
        self.router.restore(key, value)

    def restored(self, now: float) -> None:
        """All changelogs are read."""
        for guest in self.guests:
            guest.restored(now)
        self.router.restored(now)

    def handle(self, message: Message, now: float, out: Output) -> None:
        """Decide about one record of a source topic."""
        name = str(message.topic())[len(self.router.prefix) :]
        guest = self._by_topic.get(name)
        if guest is None:
            self.router.handle(message, now, out)
            return
        fault = guest.handle(message, now, out)
        if fault is not None:
            writer = self.router.writer
            writer.dead_letter(out, guest.source, message, fault.error_class, fault.message)

    def dead_letter(self, message: Message, error_class: str, out: Output) -> None:
        """Send a record on which a decision failed to its dead-letter topic."""
        self.router.dead_letter(message, error_class, out)

    def next_deadline(self) -> float | None:
        """When the next timer of any is due."""
        moments = [guest.next_deadline() for guest in self.guests]
        moments.append(self.router.next_deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def tick(self, now: float, out: Output) -> None:
        """Run the timers of all that are due."""
        for guest in self.guests:
            guest.tick(now, out)
        self.router.tick(now, out)

    def suspend(self, key: str) -> None:
        """Run no timer of this execution until a record changes it."""
        self.router.suspend(key)

    def flush(self, out: Output) -> None:
        """Write all changelogs; the router, which signs what all of them send, comes last."""
        for guest in self.guests:
            guest.flush(out)
        self.router.flush(out)
