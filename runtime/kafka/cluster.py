"""The id of the Kafka cluster, which signatures name."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

_CALL_SECONDS: Final = 5.0


def cluster_id(client: Any, topic: str) -> str:
    """The id of the cluster that a client is connected to; raises KafkaException.

    `topic` is any topic that exists: without one the broker would list them all.
    """
    found = client.list_topics(topic, timeout=_CALL_SECONDS).cluster_id
    if not found:
        raise KafkaException(KafkaError(KafkaError._FAIL, "the cluster has no id"))
    return str(found)
