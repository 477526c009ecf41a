"""Kafka clients: the one place where their options are chosen, and why."""

from __future__ import annotations

from typing import Any, Final

from runtime.settings import CommonSettings
from streams.topics import Topic

Options = dict[str, Any]

#: For a consumer that reads to an end: it is reported with an empty answer, which must come soon.
ENDS: Final[Options] = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}


def topic_name(settings: CommonSettings, topic: Topic) -> str:
    """The name of `topic` on this cluster."""
    return settings.topic_prefix + topic.name


def common(settings: CommonSettings) -> Options:
    """What every client has: where the brokers are, who we are, and quiet reconnects."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": f"runstream-{settings.instance}",
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        # A broker that is away is said once by the process itself, not in client log lines.
        "log_level": 2,
        **settings.kafka_options,
    }


def consumer(settings: CommonSettings, group: str, **options: Any) -> Options:
    """A consumer that sees committed records only and never commits by itself."""
    return {
        **common(settings),
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        # The broker answers a fetch at once when there is a record, and otherwise waits for one
        # this long: an idle consumer asks twice a second.
        "fetch.wait.max.ms": 500,
        "fetch.error.backoff.ms": 50,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 32_768,
        "fetch.message.max.bytes": 2 * 1024 * 1024,
        "allow.auto.create.topics": False,
        **options,
    }


def producer(settings: CommonSettings, **options: Any) -> Options:
    """An idempotent producer that waits for no batch and partitions as Java clients do."""
    return {
        **common(settings),
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 0,
        "partitioner": "murmur2_random",
        "message.max.bytes": 4 * 1024 * 1024,
        # With the default of 100 ms, back-to-back transactions wait on CONCURRENT_TRANSACTIONS.
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 20,
        **options,
    }


def transactional(settings: CommonSettings, transactional_id: str) -> Options:
    """A producer of transactions; the id is stable, so that a restart fences its predecessor."""
    return producer(
        settings,
        **{
            "transactional.id": transactional_id,
            # The commit sends at once whatever is still here, so this delays nothing; but a batch
            # that takes a while to decide goes out in few requests instead of one per record.
            "linger.ms": 20,
            # A killed instance that never comes back blocks readers for no longer than this.
            "transaction.timeout.ms": 15_000,
        },
    )
