"""Dead letters of the sink: written and their delivery confirmed before any position moves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from prometheus_client import Counter

from runtime.kafka import clients
from runtime.kafka.dead_letters import WRITTEN, DeadLetter, dead_letter, fitting
from runtime.settings import CommonSettings

GROUP: Final = "runstream-sink"
_DELIVERY_SECONDS: Final = 15.0


#: Topic, partition and offset of a record.
Where = tuple[str | None, int | None, int | None]


class NotDelivered(Exception):
    """A dead letter was not confirmed; the records it came from must be read again."""


class DeadLetterWriter:
    """The sink's producer of dead letters; made when the first is needed."""

    def __init__(self, settings: CommonSettings) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._producer: Producer | None = None
        self._partitions: dict[str, int] = {}
        #: Records of this batch whose dead letters are delivered, in case it is tried again.
        self._delivered: set[Where] = set()

    def write(self, failed: list[tuple[Message, str, str, str]]) -> None:
        """Write dead letters for (message, class, sentence, stage) and wait for their delivery.

        Raises NotDelivered where one is not confirmed. A dead letter that was delivered
        is not written again when its batch is tried again, except after a crash in between.
        """
        failures: list[str] = []

        def confirmed(error: KafkaError | None, where: Where, counter: Counter) -> None:
            if error is None:
                self._delivered.add(where)
                counter.inc()
            else:
                failures.append(error.str())

        try:
            producer = self._producer or self._open()
            for message, error_class, sentence, stage in failed:
                where = (message.topic(), message.partition(), message.offset())
                if where in self._delivered:
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
                topic = str(message.topic()).removeprefix(self._settings.topic_prefix)
                counter = WRITTEN.labels(topic, error_class)
                self._produce(producer, letter, partial(confirmed, where=where, counter=counter))
            unconfirmed = producer.flush(_DELIVERY_SECONDS)
        except KafkaException as error:
            raise NotDelivered(error.args[0].str()) from None
        if failures or unconfirmed:
            raise NotDelivered(failures[0] if failures else "the broker did not confirm in time")

    def forget(self) -> None:
        """The positions have moved past the records of this batch."""
        self._delivered.clear()

    def close(self) -> None:
        """Drop the producer; `write` has waited for every delivery."""
        self._producer = None

    def _open(self) -> Producer:
        options = clients.producer(
            self._settings, **{"message.timeout.ms": int(_DELIVERY_SECONDS * 1_000)}
        )
        self._producer = Producer(options)
        return self._producer

    def _produce(
        self,
        producer: Producer,
        letter: DeadLetter,
        confirmed: Callable[[KafkaError | None], None],
    ) -> None:
        partitions = self._partitions.get(letter.topic)
        if partitions is None:
            partitions = self._count(producer, letter.topic)
        letter = fitting(letter, partitions)
        producer.produce(
            letter.topic,
            key=letter.key,
            value=letter.value,
            headers=letter.headers,
            # -1: the partition is chosen by the key.
            partition=-1 if letter.partition is None else letter.partition,
            on_delivery=lambda error, _: confirmed(error),
        )
        producer.poll(0)

    def _count(self, producer: Producer, topic: str) -> int:
        found = producer.list_topics(topic, timeout=5.0).topics[topic]
        if found.error is not None or not found.partitions:
            raise NotDelivered(f"{topic} does not exist")
        self._partitions[topic] = len(found.partitions)
        return len(found.partitions)
