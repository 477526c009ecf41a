"""The CLI's own Kafka calls: a bounded probe, and a send that returns when all replicas have it."""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, Final

from console import endpoints, signing
from console.exits import Exit, Failure
from runtime.clock import monotonic
from runtime.kafka import clients
from runtime.kafka.cluster import cluster_id
from streams.envelope import SIGNATURE

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, KafkaException, Message
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.admin._metadata import ClusterMetadata

    from authority.keys import PrivateKey
    from runtime.kafka.dead_letters import HeaderList
    from runtime.settings import CommonSettings
    from streams.envelope import Headers
    from streams.topics import Topic

#: How long a command waits for a broker before it says that there is none.
PROBE_SECONDS: Final = 10.0
#: How long a topic must be absent to count as missing.
ABSENT_SECONDS: Final = 2.0


def admin(settings: CommonSettings) -> AdminClient:
    """An admin client; it connects when it is first used."""
    from confluent_kafka.admin import AdminClient

    return AdminClient(clients.common(settings))


def unreachable(settings: CommonSettings) -> Failure:
    """The failure of a command where no broker responds."""
    return Failure(
        f"no Kafka broker answers at {settings.bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS) "
        f"within {PROBE_SECONDS:.0f} s",
        Exit.UNREACHABLE,
        endpoints.server_remedy(),
    )


def login_refused(settings: CommonSettings) -> Failure:
    """The failure of a command whose login the brokers do not know."""
    return Failure(
        f"the Kafka brokers at {settings.bootstrap_servers} refuse the login",
        Exit.UNREACHABLE,
        "check RUNSTREAM_KAFKA_OPTIONS: security.protocol, sasl.mechanism, username and password",
    )


def refused(settings: CommonSettings, name: str, error: KafkaException) -> Failure:
    """The failure of a command where the cluster responds with an error."""
    from confluent_kafka import KafkaError

    cause = error.args[0]
    if cause.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
        return unreachable(settings)
    return Failure(
        f"{name} at {settings.bootstrap_servers} cannot be used: {cause.str()}", Exit.UNREACHABLE
    )


def probe(settings: CommonSettings) -> ClusterMetadata:
    """Brokers and topics of the cluster; raises Failure after PROBE_SECONDS without an answer."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from runtime.kafka.outage import LOGIN, reason

    said: list[KafkaError] = []
    options: clients.Options = {**clients.common(settings), "error_cb": said.append}
    client = AdminClient(options)
    until = monotonic() + PROBE_SECONDS
    while True:
        try:
            return client.list_topics(timeout=1)
        except KafkaException:
            # The library would try a refused login again until the end.
            client.poll(0)
            if any(reason(error).sentence.startswith(LOGIN) for error in said):
                raise login_refused(settings) from None
            if monotonic() > until:
                raise unreachable(settings) from None


def partitions(settings: CommonSettings, topic: Topic) -> int:
    """How many partitions `topic` really has on this cluster; raises Failure where it is absent.

    A broker may not know a topic that was just created, so an absence counts only after
    ABSENT_SECONDS.
    """
    name = clients.topic_name(settings, topic)
    until = monotonic() + ABSENT_SECONDS
    while True:
        found = probe(settings).topics.get(name)
        if found is not None and found.error is None and found.partitions:
            return len(found.partitions)
        if monotonic() > until:
            raise Failure(
                f"the topic {name} does not exist at {settings.bootstrap_servers}",
                Exit.UNREACHABLE,
                "runstream topics apply",
            )
        sleep(0.05)


def send(
    settings: CommonSettings,
    topic: Topic,
    *,
    key: str,
    value: bytes,
    headers: Headers,
    sign_with: PrivateKey | None,
) -> tuple[int, int]:
    """Produce one record with acks=all; returns its partition and offset, raises Failure."""
    from confluent_kafka import KafkaException, Producer

    outcome: list[tuple[KafkaError | None, Message]] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        outcome.append((error, message))

    name = clients.topic_name(settings, topic)
    options = {
        # The client's own bound on all of its retries.
        "message.timeout.ms": int(PROBE_SECONDS * 1000),
        # An idempotent producer waits half a second for its id (measured). One record needs no
        # order, and the router recognises a repeated request or command by its ids.
        "enable.idempotence": False,
    }
    producer = Producer(clients.producer(settings, **options))
    given: HeaderList = [*headers]
    if sign_with is not None:
        try:
            cluster = cluster_id(producer, name)
        except KafkaException:
            raise unreachable(settings) from None
        given.append((SIGNATURE, signing.token(sign_with, topic, cluster, value)))
    try:
        producer.produce(name, key=key.encode(), value=value, headers=given, on_delivery=delivered)
    except KafkaException as error:
        raise Failure(f"{name}: {error.args[0].str()}", Exit.FAILED) from None
    producer.flush(PROBE_SECONDS + 2)
    if not outcome:
        raise unreachable(settings)
    error_or_none, message = outcome[0]
    if error_or_none is not None:
        raise Failure(f"{name} did not take the record: {error_or_none.str()}", Exit.UNREACHABLE)
    return message.partition() or 0, message.offset() or 0
