"""The options of all Kafka clients."""

from __future__ import annotations

from typing import Any, Final

from runtime.settings import CommonSettings
from streams.access import READERS_GROUP
from streams.topics import Topic

Options = dict[str, Any]

#: For a consumer that reads to an end, which the broker reports by an empty fetch response.
ENDS: Final[Options] = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}


def topic_name(settings: CommonSettings, topic: Topic) -> str:
    """The name of `topic` on this cluster."""
    return settings.topic_prefix + topic.name


def common(settings: CommonSettings) -> Options:
    """What every client has: the brokers, the client id, and reconnects without log lines."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": f"runstream-{settings.instance}",
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        # The process itself logs once that the broker is away.
        "log_level": 2,
        **settings.kafka_options,
    }


def consumer(settings: CommonSettings, group: str, **options: Any) -> Options:
    """A consumer that reads committed records only and does not commit by itself."""
    return {
        **common(settings),
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        # The broker answers a fetch at once when there is a record, and otherwise waits for one
        # this long: an idle consumer fetches twice a second.
        "fetch.wait.max.ms": 500,
        "fetch.error.backoff.ms": 50,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 32_768,
        "fetch.message.max.bytes": 2 * 1024 * 1024,
        "allow.auto.create.topics": False,
        **options,
    }


def reader(settings: CommonSettings, **options: Any) -> Options:
    """A consumer that is assigned its partitions: it never joins a group, but has to name one."""
    return consumer(settings, settings.topic_prefix + READERS_GROUP, **options)


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
            # The commit flushes at once, so this delays nothing; the records of a batch that takes
            # long to decide are sent in few requests instead of one each.
            "linger.ms": 20,
            # How long an open transaction blocks readers where its killed instance does not return.
            "transaction.timeout.ms": 15_000,
        },
    )
