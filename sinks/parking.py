"""Parking: a dead letter written and its delivery confirmed, before any position moves."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from runtime.kafka import clients
from runtime.kafka.dead_letters import DeadLetter, dead_letter, fitting
from runtime.settings import CommonSettings

GROUP: Final = "runstream-sink"
_DELIVERY_SECONDS: Final = 15.0


class NotParked(Exception):
    """A dead letter was not confirmed; the records it came from must be read again."""


class Parking:
    """The sink's producer of dead letters; made when the first is needed."""

    def __init__(self, settings: CommonSettings) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._producer: Producer | None = None
        self._partitions: dict[str, int] = {}
        #: Letters of the batch at hand that are safe already, should it be tried again.
        self._parked: set[tuple[str | None, int | None, int | None]] = set()

    def park(self, poison: list[tuple[Message, str, str, str]]) -> None:
        """Write letters for (message, class, sentence, stage) and wait until all are confirmed.

        Raises NotParked where one is not. A letter that this process has confirmed before is not
        written again when its batch is tried again; a crash in between may write it twice.
        """
        failures: list[str] = []

        def confirmed(error: KafkaError | None, place: Any) -> None:
            if error is None:
                self._parked.add(place)
            else:
                failures.append(error.str())

        try:
            producer = self._producer or self._open()
            for message, error_class, sentence, stage in poison:
                place = (message.topic(), message.partition(), message.offset())
                if place in self._parked:
                    continue
                letter = dead_letter(
                    str(message.topic()),
                    message,
                    error_class=error_class,
                    message_text=sentence,
                    stage=stage,
                    group=GROUP,
                    app="sink",
                )
                self._produce(producer, letter, place, confirmed)
            unconfirmed = producer.flush(_DELIVERY_SECONDS)
        except KafkaException as error:
            raise NotParked(error.args[0].str()) from None
        if failures or unconfirmed:
            raise NotParked(failures[0] if failures else "the broker did not confirm in time")

    def forget(self) -> None:
        """The positions have moved past what was parked."""
        self._parked.clear()

    def close(self) -> None:
        """Drop the producer; everything that counts was confirmed."""
        self._producer = None

    def _open(self) -> Producer:
        options = clients.producer(
            self._settings, **{"message.timeout.ms": int(_DELIVERY_SECONDS * 1_000)}
        )
        self._producer = Producer(options)
        return self._producer

    def _produce(self, producer: Producer, letter: DeadLetter, place: Any, confirmed: Any) -> None:
        partitions = self._partitions.get(letter.topic)
        if partitions is None:
            partitions = self._count(producer, letter.topic)
        letter = fitting(letter, partitions)
        producer.produce(
            letter.topic,
            key=letter.key,
            value=letter.value,
            headers=letter.headers,
            # -1 lets the key choose.
            partition=-1 if letter.partition is None else letter.partition,
            on_delivery=lambda error, _: confirmed(error, place),
        )
        producer.poll(0)

    def _count(self, producer: Producer, topic: str) -> int:
        found = producer.list_topics(topic, timeout=5.0).topics[topic]
        if found.error is not None or not found.partitions:
            raise NotParked(f"{topic} does not exist")
        self._partitions[topic] = len(found.partitions)
        return len(found.partitions)
