"""What the projector asks the cluster itself: are the topics there, what was published before.

This half runs on confluent-kafka, in threads: reading a compacted partition to its end is a
matter of seconds even with a million snapshots, and its end-of-partition event needs no guess.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from processors.progress.records import Restoring
from runtime.kafka import clients
from runtime.settings import ProjectorSettings
from streams.topics import EVENTS, PROGRESS

_POLL_SECONDS: Final = 0.5
_SILENCE_SECONDS: Final = 30.0


class ClusterUnready(Exception):
    """The projector cannot start now; the message says what it waits for."""


class Watch:
    """Asks the cluster for the projector's topics; for threads, since it blocks."""

    def __init__(self, settings: ProjectorSettings) -> None:
        """Connect lazily."""
        self._admin = AdminClient(clients.common(settings))
        self._names = [clients.topic_name(settings, topic) for topic in (EVENTS, PROGRESS)]

    def check(self, timeout_seconds: float = 3.0) -> None:
        """Return if the broker answers and has both topics; raises ClusterUnready otherwise."""
        try:
            known = self._admin.list_topics(timeout=timeout_seconds).topics
        except KafkaException as error:
            fault = error.args[0]
            if fault.name() in ("_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN"):
                raise ClusterUnready("no broker answers") from None
            raise ClusterUnready(f"the cluster refuses the projector: {fault.str()}") from None
        counts = {}
        for name in self._names:
            if name not in known or not known[name].partitions:
                raise ClusterUnready(f"topic {name} does not exist yet")
            counts[name] = len(known[name].partitions)
        if len(set(counts.values())) > 1:
            raise ClusterUnready(f"the topics must have equally many partitions: {counts}")


def read_states(
    settings: ProjectorSettings, partitions: list[int], stop: threading.Event
) -> dict[int, Restoring]:
    """The states of these partitions as they were last published; blocks until all are read.

    Raises ClusterUnready where the broker goes away meanwhile or `stop` is set.
    """
    topic = clients.topic_name(settings, PROGRESS)
    group = f"{settings.topic_prefix}runstream-projector-restore"  # Joined and committed by none.
    consumer = Consumer(clients.consumer(settings, group, **{"enable.partition.eof": True}))
    found = {partition: Restoring() for partition in partitions}
    try:
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        open_partitions = set(partitions)
        for message in _messages(consumer, stop):
            error = message.error()
            partition = message.partition()
            if error is None and partition is not None:
                headers = message.headers() or []
                given = list(headers.items() if isinstance(headers, dict) else headers)
                found[partition].add(message.key(), message.value(), given)
            elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(-1 if partition is None else partition)
                if not open_partitions:
                    break
            elif error is not None and error.fatal():
                raise ClusterUnready(f"the progress topic cannot be read: {error.str()}")
        return found
    finally:
        consumer.close()


def _messages(consumer: Consumer, stop: threading.Event) -> Iterator[Message]:
    """What the broker has, errors and ends of partitions included, without waiting for more."""
    silent = 0.0
    while silent < _SILENCE_SECONDS:
        if stop.is_set():
            raise ClusterUnready("stopping")
        first = consumer.poll(_POLL_SECONDS)
        if first is None:
            silent += _POLL_SECONDS
            continue
        silent = 0.0
        yield first
        yield from consumer.consume(2_000, 0)
    raise ClusterUnready("the progress topic does not answer")
