"""Redriving dead letters: the original bytes to their topic again, or a rerun of the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from console import broker
from runtime.clock import iso, now
from runtime.kafka import clients
from runtime.kafka.dead_letters import without_error
from streams import envelope
from streams.commands import Redrive
from streams.ids import is_execution_id, route_of
from streams.topics import CONTROL

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

    from console.letters import Letter
    from runtime.settings import CommonSettings

#: A letter that came back this often comes back for ever; what is wrong is not the moment.
MAX_HOPS: Final = 5


@dataclass(slots=True)
class Outcome:
    """What became of the letters: place → sentence for those that were not redriven."""

    redriven: list[Letter] = field(default_factory=list)
    refused: list[tuple[Letter, str]] = field(default_factory=list)


def redrive(settings: CommonSettings, letters: Iterable[Letter], actor: str) -> Outcome:
    """Send each letter on its way again and wait until the broker has it.

    The letters stay where they are. Twice does no harm: readers know what they have had by its
    id, and a request is known by its idempotency key.
    """
    from confluent_kafka import KafkaException, Producer

    outcome = Outcome()
    options = {"message.timeout.ms": int(broker.PROBE_SECONDS * 1_000)}
    producer = Producer(clients.producer(settings, **options))
    partitions: dict[str, int] = {}
    for letter in letters:
        refusal = _refusal(letter)
        if refusal is not None:
            outcome.refused.append((letter, refusal))
            continue
        try:
            if letter.exhausted:
                _command(settings, producer, letter, actor, outcome)
            else:
                count = partitions.get(letter.source.name)
                if count is None:
                    count = broker.partitions(settings, letter.source)
                    partitions[letter.source.name] = count
                _again(settings, producer, letter, count, outcome)
        except KafkaException as error:
            outcome.refused.append((letter, error.args[0].str()))
        except BufferError:
            producer.flush(broker.PROBE_SECONDS)
            outcome.refused.append((letter, "the producer is full; redrive the rest again"))
        producer.poll(0)
    if producer.flush(broker.PROBE_SECONDS + 2):
        raise broker.unreachable(settings)
    return outcome


def _refusal(letter: Letter) -> str | None:
    if letter.hops >= MAX_HOPS:
        return f"it came back {letter.hops} times; find the cause first"
    if letter.exhausted and _step_of(letter) is None:
        return "it names no execution and step"
    return None


def _again(
    settings: CommonSettings, producer: Producer, letter: Letter, partitions: int, outcome: Outcome
) -> None:
    said = letter.said("partition") or ""
    # The source's partition: what has a key meets its own kind there. -1 lets the key choose.
    wanted = int(said) if said.isdigit() and len(said) < 7 else -1
    producer.produce(
        clients.topic_name(settings, letter.source),
        letter.value,
        key=letter.key,
        partition=wanted if wanted < partitions else -1,
        headers=without_error(letter.headers),
        on_delivery=_note(letter, outcome),
    )


def _command(
    settings: CommonSettings, producer: Producer, letter: Letter, actor: str, outcome: Outcome
) -> None:
    execution_id, step = _step_of(letter) or ("", "")
    command = Redrive(execution_id=execution_id, step=step, actor=actor, reason="dead letter")
    moment = iso(now())
    head = envelope.headers(
        ident=f"{letter.topic}:{letter.partition}:{letter.offset}:{moment}",
        kind="control.redrive",
        source="cli",
        time=moment,
        subject=execution_id,
    )
    producer.produce(
        clients.topic_name(settings, CONTROL),
        command.model_dump_json(exclude_none=True).encode(),
        key=route_of(execution_id).encode(),
        headers=list(head),
        on_delivery=_note(letter, outcome),
    )


def _note(letter: Letter, outcome: Outcome) -> Callable[[KafkaError | None, Message], None]:
    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            outcome.redriven.append(letter)
        else:
            outcome.refused.append((letter, error.str()))

    return delivered


def _step_of(letter: Letter) -> tuple[str, str] | None:
    """Execution and step of the command in an exhausted letter."""
    try:
        command = orjson.loads(letter.value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(command, dict):
        return None
    execution_id, step = command.get("execution_id"), command.get("step")
    if isinstance(execution_id, str) and is_execution_id(execution_id) and isinstance(step, str):
        return execution_id, step
    return None
