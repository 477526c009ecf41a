"""Whether a broker of this machine serves clients."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devstack.ports import is_free

_SECONDS = 2


def serves(port: int, options: Mapping[str, str]) -> bool:
    """Whether a client with these options gets metadata with a live broker."""
    if is_free(port):
        # While nothing listens librdkafka would report connection errors.
        return False
    client = AdminClient({**options, "socket.timeout.ms": _SECONDS * 1_000}, logger=_SILENT)
    try:
        return bool(client.list_topics(timeout=_SECONDS).brokers)
    except KafkaException:
        return False


_SILENT = logging.getLogger("devstack.kafka.probe")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
