"""The triggers that are applied, followed on the changelog that the router keeps of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processors.triggers.matching import Watched
from processors.triggers.state import PREFIX, TriggerState, TriggerStateError, decode
from runtime import clock
from runtime.kafka import clients
from runtime.settings import CommonSettings
from streams.topics import TRIGGERS_STATE

_BATCH: Final = 200


class KnownTriggers:
    """Every trigger that is not removed or paused, by tenant and name."""

    def __init__(self, settings: CommonSettings) -> None:
        """Nothing is known before the first `poll`."""
        options = clients.reader(
            settings,
            **{"enable.partition.eof": True, "queued.max.messages.kbytes": 4_096},
        )
        self._consumer: Any = Consumer(options)
        topic = clients.topic_name(settings, TRIGGERS_STATE)
        numbers = range(TRIGGERS_STATE.partitions)
        self._consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        self._behind = set(numbers)
        self.triggers: dict[str, Watched] = {}
        #: When every partition was last known to its end, in Unix seconds; 0 before the first time.
        self.known_at = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether all that was there at the start is known."""
        return self.known_at > 0

    def poll(self, wait_seconds: float) -> list[Watched]:
        """Take what is new; returns those that are new or changed. Raises KafkaException."""
        changed: dict[str, Watched] = {}
        began = clock.now()
        for message in self._messages(wait_seconds):
            self._take(message, changed)
        if not self._behind:
            self.known_at = began
        return [found for key, found in changed.items() if self.triggers.get(key) is found]

    def topics(self) -> set[str]:
        """The full names of the topics that any trigger is on."""
        return {watched.trigger.topic for watched in self.triggers.values()}

    def on(self, topic: str) -> list[Watched]:
        """The triggers on this topic."""
        return [one for one in self.triggers.values() if one.trigger.topic == topic]

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _messages(self, wait_seconds: float) -> Iterator[Message]:
        for message in self._consumer.consume(_BATCH, wait_seconds):
            error = message.error()
            number = message.partition() or 0
            if error is None:
                self._behind.add(number)
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                self._behind.discard(number)
            elif not error.retriable():
                raise KafkaException(error)

    def _take(self, message: Message, changed: dict[str, Watched]) -> None:
        key = (message.key() or b"").removeprefix(PREFIX).decode(errors="replace")
        value = message.value()
        found = None if value is None else _watched(value)
        before = self.triggers.get(key)
        if found is None:
            self.triggers.pop(key, None)
        elif found != before:
            self.triggers[key] = changed[key] = found


def _watched(value: bytes) -> Watched | None:
    """The trigger in a record; None where it starts nothing now. Raises TriggerStateError."""
    try:
        state: TriggerState = decode(value)
    except (KeyError, TypeError, ValueError) as error:
        raise TriggerStateError(f"{TRIGGERS_STATE.name}: {error}") from error
    if state.trigger is None or state.paused:
        return None
    return Watched(
        state.tenant, state.name, state.trigger, state.definition,
        state.since, state.changed_at, state.again,
    )  # fmt: skip
