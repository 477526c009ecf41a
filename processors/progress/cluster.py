"""What the projector asks the cluster itself: are the topics there, what was published before.

This part runs on confluent-kafka, in threads: reading a compacted partition to its end is a
matter of seconds even with a million snapshots, and its end-of-partition event needs no guess.
"""

from __future__ import annotations

import threading

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from processors.progress.history import DurationHistory
from processors.progress.records import StateBuilder
from runtime.kafka import clients
from runtime.kafka.restore import read_to_end
from runtime.settings import ProjectorSettings
from streams.topics import EVENTS, PROGRESS


class ClusterUnready(Exception):
    """The projector cannot start now; the message says what it waits for."""


class TopicCheck:
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
    settings: ProjectorSettings,
    partitions: list[int],
    stop: threading.Event,
    history: DurationHistory,
) -> dict[int, StateBuilder]:
    """The states of these partitions as they were last published; blocks until all are read.

    What the steps of ended executions took goes to `history`.
    Raises ClusterUnready where the broker goes away meanwhile or `stop` is set.
    """
    topic = clients.topic_name(settings, PROGRESS)
    found = {partition: StateBuilder(history) for partition in partitions}
    try:
        for message in read_to_end(settings, topic, partitions, stop):
            headers = message.headers() or []
            given = list(headers.items() if isinstance(headers, dict) else headers)
            found[message.partition() or 0].add(message.key(), message.value(), given)
    except KafkaException as error:
        raise ClusterUnready(f"the progress topic cannot be read: {error.args[0].str()}") from None
    if stop.is_set():
        raise ClusterUnready("stopping")
    return found
