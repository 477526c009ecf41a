"""Procedures on the cluster: reading them from their topic, and putting them there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import orjson

from console.exits import Exit, Failure
from reading.procedures import Applied, applied_in
from streams.procedures import ProcedureRecord, record_key
from streams.topics import PROCEDURES

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from authority.keys import PrivateKey
    from runtime.kafka.dead_letters import HeaderList
    from runtime.settings import CommonSettings


#: Records that wait for the broker at once: together less than the client's buffer.
_IN_FLIGHT: Final = 100


def read(settings: CommonSettings, tenant: str) -> dict[str, Applied]:
    """The procedures of a tenant by name, removed ones left out; raises Failure."""
    from confluent_kafka import KafkaException
    from pydantic import ValidationError

    from console import broker, terminal
    from runtime.kafka import clients
    from runtime.kafka.restore import read_to_end

    broker.partitions(settings, PROCEDURES)
    topic = clients.topic_name(settings, PROCEDURES)
    found: dict[str, Applied] = {}
    unreadable: dict[str, None] = {}
    try:
        for message in read_to_end(settings, topic, [0]):
            key = (message.key() or b"").decode(errors="replace")
            found.pop(key, None)
            unreadable.pop(key, None)
            if message.value() is None or not key.startswith(record_key(tenant, "")):
                continue
            try:
                applied = applied_in(message)
            except ValidationError:
                unreadable[key] = None
                continue
            if applied is not None:
                found[key] = applied
    except KafkaException as error:
        raise broker.refused(settings, topic, error) from None
    for key in unreadable:
        terminal.say(f"the record {key[:200]!r} of {topic} cannot be read", "yellow")
    return {applied.record.name: applied for _, applied in sorted(found.items())}


def put(
    settings: CommonSettings, records: Sequence[ProcedureRecord], key: PrivateKey | None
) -> None:
    """Put procedures on the topic, in this order; the broker has all when this returns.

    Raises Failure with the number of those that it has.
    """
    from confluent_kafka import KafkaException, Producer

    from console import broker, signing
    from runtime.clock import iso, now
    from runtime.kafka import clients
    from runtime.kafka.cluster import cluster_id
    from streams.envelope import SIGNATURE, headers

    if not records:
        return
    topic = clients.topic_name(settings, PROCEDURES)
    limit = int(broker.PROBE_SECONDS * 1000)
    producer = Producer(clients.producer(settings, **{"message.timeout.ms": limit}))
    written: list[str] = []
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            written.append(str(message.offset()))
        else:
            refused.append(error)

    try:
        cluster = "" if key is None else cluster_id(producer, topic)
        for record in records:
            name = record_key(record.tenant, record.name)
            value = orjson.dumps(record.model_dump())
            head: HeaderList = [
                *headers(
                    ident=f"{name}@{record.version}",
                    kind="procedure",
                    source="cli",
                    time=iso(now()),
                    subject=name,
                )
            ]
            if key is not None:
                head.append((SIGNATURE, signing.token(key, PROCEDURES, cluster, value)))
            producer.produce(
                topic, key=name.encode(), value=value, headers=head, partition=0,
                on_delivery=delivered,
            )  # fmt: skip
            if len(producer) >= _IN_FLIGHT:
                producer.flush(broker.PROBE_SECONDS + 2)
            if refused:
                break
        producer.flush(broker.PROBE_SECONDS + 2)
    except KafkaException as error:
        raise broker.refused(settings, topic, error) from None
    if len(written) < len(records):
        why = refused[0].str() if refused else "the broker does not answer"
        raise Failure(
            f"{len(written)} of {len(records)} were written to {topic}, then: {why}",
            Exit.UNREACHABLE,
            "apply again: what is there is not written twice",
        )
