"""The CLI's own Kafka calls: a bounded probe, and a send that returns when all replicas have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from console import endpoints
from console.exits import Exit, Failure
from runtime import kafka

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.admin._metadata import ClusterMetadata

    from runtime.settings import CommonSettings
    from streams.envelope import Headers
    from streams.topics import Topic

#: How long a command waits for a broker before it says that there is none.
PROBE_SECONDS: Final = 10.0


def admin(settings: CommonSettings) -> AdminClient:
    """An admin client; it connects when it is first used."""
    from confluent_kafka.admin import AdminClient

    return AdminClient(kafka.common(settings))


def unreachable(settings: CommonSettings) -> Failure:
    """What a command says when no broker answers."""
    return Failure(
        f"no Kafka broker answers at {settings.bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS) "
        f"within {PROBE_SECONDS:.0f} s",
        Exit.UNREACHABLE,
        endpoints.server_remedy(),
    )


def probe(settings: CommonSettings) -> ClusterMetadata:
    """Brokers and topics of the cluster; raises Failure after PROBE_SECONDS without an answer."""
    from confluent_kafka import KafkaException

    try:
        return admin(settings).list_topics(timeout=PROBE_SECONDS)
    except KafkaException:
        raise unreachable(settings) from None


def partitions(settings: CommonSettings, topic: Topic) -> int:
    """How many partitions `topic` really has on this cluster; raises Failure where it is absent."""
    name = kafka.topic_name(settings, topic)
    found = probe(settings).topics.get(name)
    if found is None or found.error is not None or not found.partitions:
        raise Failure(
            f"the topic {name} does not exist at {settings.bootstrap_servers}",
            Exit.UNREACHABLE,
            "runstream topics apply",
        )
    return len(found.partitions)


def send(
    settings: CommonSettings, topic: Topic, *, key: str, value: bytes, headers: Headers
) -> tuple[int, int]:
    """Produce one record with acks=all; returns its partition and offset, raises Failure."""
    from confluent_kafka import KafkaException, Producer

    outcome: list[tuple[KafkaError | None, Message]] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        outcome.append((error, message))

    name = kafka.topic_name(settings, topic)
    # The delivery time-out is the client's own bound on all of its retries.
    options = {"message.timeout.ms": int(PROBE_SECONDS * 1000)}
    producer = Producer(kafka.producer(settings, **options))
    try:
        producer.produce(
            name, key=key.encode(), value=value, headers=list(headers), on_delivery=delivered
        )
    except KafkaException as error:
        raise Failure(f"{name}: {error.args[0].str()}", Exit.FAILED) from None
    producer.flush(PROBE_SECONDS + 2)
    if not outcome:
        raise unreachable(settings)
    error_or_none, message = outcome[0]
    if error_or_none is not None:
        raise Failure(f"{name} did not take the record: {error_or_none.str()}", Exit.UNREACHABLE)
    return message.partition() or 0, message.offset() or 0
