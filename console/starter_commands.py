"""Commands to triggers: sent, and waited for until a router has followed or refused them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from console.exits import Exit, Failure

if TYPE_CHECKING:
    from pydantic import BaseModel

    from authority.keys import PrivateKey
    from runtime.settings import CommonSettings
    from streams.topics import Topic

#: How long a command waits until a router has followed it.
FOLLOW_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Commanded:
    """The topics of one kind of commands, and what tells that one was followed."""

    commands: Topic
    state: Topic
    #: How the keys of the state begin.
    prefix: bytes
    #: The offset of the last command that a record of the state says was followed.
    followed: Callable[[bytes], int]


def send(
    settings: CommonSettings,
    topics: Commanded,
    key: str,
    command: BaseModel,
    sign_with: PrivateKey | None,
) -> None:
    """Return when a router has followed the command; raises Failure with its sentence if not."""
    import orjson
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    from console import broker
    from runtime.clock import iso, now
    from runtime.kafka import clients
    from runtime.kafka.restore import end_offsets
    from streams.envelope import headers
    from streams.ids import partition_for
    from streams.topics import DEAD_LETTERS

    count = broker.partitions(settings, topics.commands)
    number = partition_for(key.encode(), count)
    state = clients.topic_name(settings, topics.state)
    letters = clients.topic_name(settings, DEAD_LETTERS[topics.commands.name])
    consumer: Any = Consumer(clients.reader(settings))
    try:
        places = [(state, number), *((letters, one) for one in range(count))]
        ends = {
            **{(state, number): end_offsets(settings, state, [number])[number]},
            **{
                (letters, one): end
                for one, end in end_offsets(settings, letters, range(count)).items()
            },
        }
        consumer.assign([TopicPartition(*place, ends[place]) for place in places])
        where = broker.send(
            settings,
            topics.commands,
            key=key,
            value=orjson.dumps(command.model_dump(mode="json", exclude_none=True)),
            headers=headers(
                ident=f"{key}:{now():.6f}", kind="command", source="cli", time=iso(now()),
                subject=key,
            ),
            sign_with=sign_with,
        )  # fmt: skip
        _wait(consumer, topics, state, key, where)
    except KafkaException as error:
        raise broker.refused(settings, state, error) from None
    finally:
        consumer.close()


def _wait(consumer: Any, topics: Commanded, state: str, key: str, where: tuple[int, int]) -> None:
    from confluent_kafka import KafkaException

    from runtime.clock import monotonic
    from streams.envelope import header, message_headers

    until = monotonic() + FOLLOW_SECONDS
    while monotonic() < until:
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            continue
        if message.error() is not None:
            if message.error().retriable():
                continue
            raise KafkaException(message.error())
        if message.topic() == state:
            value = message.value()
            ours = message.key() == topics.prefix + key.encode()
            if ours and value is not None and topics.followed(value) >= where[1]:
                return
            continue
        given = message_headers(message)
        place = (
            header(given, "runstream-error-partition"),
            header(given, "runstream-error-offset"),
        )
        if place == (str(where[0]), str(where[1])):
            why = header(given, "runstream-error-message") or "the router refuses it"
            raise Failure(why, Exit.REJECTED)
    raise Failure(
        f"no router has followed it within {FOLLOW_SECONDS:.0f} s; one that starts will",
        Exit.UNREACHABLE,
        "is a router running? runstream status",
    )
