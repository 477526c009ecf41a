"""Redriving dead letters: the original bytes to their topic again, or a rerun of the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from console import broker, signing
from runtime.clock import iso, now
from runtime.kafka import clients
from runtime.kafka.cluster import cluster_id
from runtime.kafka.dead_letters import without_error
from streams import envelope
from streams.commands import Redrive
from streams.ids import is_execution_id, route_of
from streams.topics import CONTROL

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

    from authority.keys import PrivateKey
    from console.dead_letters import DeadLetterRecord
    from runtime.settings import CommonSettings

#: After this many redrives a dead letter is refused: another one would fail as well.
MAX_HOPS: Final = 5


@dataclass(slots=True)
class Outcome:
    """The dead letters that were redriven, and the others with the reason."""

    redriven: list[DeadLetterRecord] = field(default_factory=list)
    refused: list[tuple[DeadLetterRecord, str]] = field(default_factory=list)


def redrive(
    settings: CommonSettings,
    records: Iterable[DeadLetterRecord],
    actor: str,
    signs: PrivateKey | None,
) -> Outcome:
    """Redrive each dead letter and wait until the broker has it.

    The dead letters stay on their topic. To redrive twice is safe: readers recognise duplicates by
    their ids, and requests by their idempotency keys.
    """
    from confluent_kafka import KafkaException, Producer

    outcome = Outcome()
    options = {"message.timeout.ms": int(broker.PROBE_SECONDS * 1_000)}
    producer = Producer(clients.producer(settings, **options))
    partitions: dict[str, int] = {}
    for record in records:
        refusal = _refusal(record)
        if refusal is not None:
            outcome.refused.append((record, refusal))
            continue
        try:
            if record.exhausted:
                _command(settings, producer, record, actor, signs, outcome)
            else:
                count = partitions.get(record.source.name)
                if count is None:
                    count = broker.partitions(settings, record.source)
                    partitions[record.source.name] = count
                _again(settings, producer, record, count, outcome)
        except KafkaException as error:
            outcome.refused.append((record, error.args[0].str()))
        except BufferError:
            producer.flush(broker.PROBE_SECONDS)
            outcome.refused.append((record, "the producer is full; redrive the rest again"))
        producer.poll(0)
    if producer.flush(broker.PROBE_SECONDS + 2):
        raise broker.unreachable(settings)
    return outcome


def _refusal(record: DeadLetterRecord) -> str | None:
    if record.hops >= MAX_HOPS:
        return f"it came back {record.hops} times; find the cause first"
    if record.exhausted and _step_of(record) is None:
        return "it names no execution and step"
    return None


def _again(
    settings: CommonSettings,
    producer: Producer,
    record: DeadLetterRecord,
    partitions: int,
    outcome: Outcome,
) -> None:
    said = record.said("partition") or ""
    # The partition of the source, where the records of its key are. -1: chosen by the key.
    wanted = int(said) if said.isdigit() and len(said) < 7 else -1
    producer.produce(
        clients.topic_name(settings, record.source),
        record.value,
        key=record.key,
        partition=wanted if wanted < partitions else -1,
        headers=without_error(record.headers),
        on_delivery=_note(record, outcome),
    )


def _command(
    settings: CommonSettings,
    producer: Producer,
    record: DeadLetterRecord,
    actor: str,
    signs: PrivateKey | None,
    outcome: Outcome,
) -> None:
    execution_id, step = _step_of(record) or ("", "")
    command = Redrive(execution_id=execution_id, step=step, actor=actor, reason="dead letter")
    time = iso(now())
    head = envelope.headers(
        ident=f"{record.topic}:{record.partition}:{record.offset}:{time}",
        kind="control.redrive",
        source="cli",
        time=time,
        subject=execution_id,
    )
    name = clients.topic_name(settings, CONTROL)
    value = command.model_dump_json(exclude_none=True).encode()
    if signs is not None:
        cluster = cluster_id(producer, name)
        head.append((envelope.SIGNATURE, signing.token(signs, CONTROL, cluster, value)))
    producer.produce(
        name,
        value,
        key=route_of(execution_id).encode(),
        headers=list(head),
        on_delivery=_note(record, outcome),
    )


def _note(
    record: DeadLetterRecord, outcome: Outcome
) -> Callable[[KafkaError | None, Message], None]:
    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            outcome.redriven.append(record)
        else:
            outcome.refused.append((record, error.str()))

    return delivered


def _step_of(record: DeadLetterRecord) -> tuple[str, str] | None:
    """Execution and step of the command in an exhausted dead letter."""
    try:
        command = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(command, dict):
        return None
    execution_id, step = command.get("execution_id"), command.get("step")
    if isinstance(execution_id, str) and is_execution_id(execution_id) and isinstance(step, str):
        return execution_id, step
    return None
