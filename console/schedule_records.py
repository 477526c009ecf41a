"""Schedules on the cluster: reading their state, and commands with the answer to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from console.exits import Exit, Failure
from streams.topics import DEAD_LETTERS, SCHEDULE_COMMANDS, SCHEDULES_STATE

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, Producer

    from authority.keys import PrivateKey
    from processors.schedules.commands import Command
    from processors.schedules.state import ScheduleState
    from runtime.kafka.dead_letters import HeaderList
    from runtime.settings import CommonSettings

#: How long nothing may come before the command gives up.
ANSWER_SECONDS: Final = 10.0
#: Commands that are sent and not answered.
_IN_FLIGHT: Final = 500
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command: the schedule as it is then, or why it was refused."""

    state: ScheduleState | None
    refused: str | None = None


def read(settings: CommonSettings, tenant: str) -> dict[str, ScheduleState]:
    """The schedules of a tenant by name; raises Failure."""
    from confluent_kafka import KafkaException

    from console import broker
    from processors.schedules.state import decode
    from runtime.kafka import clients
    from runtime.kafka.restore import read_changelog

    numbers = range(broker.partitions(settings, SCHEDULES_STATE))
    latest: dict[bytes, bytes | None] = {}
    try:
        for _, key, value in read_changelog(settings, SCHEDULES_STATE, numbers):
            latest[key] = value
    except KafkaException as error:
        name = clients.topic_name(settings, SCHEDULES_STATE)
        raise broker.refused(settings, name, error) from None
    found: dict[str, ScheduleState] = {}
    for value in latest.values():
        try:
            state = None if value is None else decode(value)
        except ValueError as error:
            raise Failure(
                f"the records of {SCHEDULES_STATE.name} are of another version", Exit.FAILED
            ) from error
        if state is not None and state.tenant == tenant and state.schedule is not None:
            found[state.name] = state
    return dict(sorted(found.items()))


def send(
    settings: CommonSettings, commands: Sequence[Command], key: PrivateKey | None
) -> list[Answer]:
    """Send commands and wait for the answer to each; raises Failure where one does not come."""
    from confluent_kafka import KafkaException

    from console import broker
    from runtime.kafka import clients

    if not commands:
        return []
    broker.partitions(settings, SCHEDULE_COMMANDS)
    broker.partitions(settings, SCHEDULES_STATE)
    try:
        with _Conversation(settings, commands, key) as talk:
            return talk.run()
    except KafkaException as error:
        name = clients.topic_name(settings, SCHEDULE_COMMANDS)
        raise broker.refused(settings, name, error) from None


class _Conversation:
    """Commands that are sent, and what the routers write about them."""

    def __init__(
        self, settings: CommonSettings, commands: Sequence[Command], key: PrivateKey | None
    ) -> None:
        import secrets

        from confluent_kafka import Consumer, Producer

        from console import broker
        from runtime.kafka import clients
        from runtime.kafka.cluster import cluster_id

        self._settings = settings
        self._commands = commands
        self._key = key
        self._topic = clients.topic_name(settings, SCHEDULE_COMMANDS)
        self._state_topic = clients.topic_name(settings, SCHEDULES_STATE)
        limit = int(broker.PROBE_SECONDS * 1_000)
        options = clients.producer(settings, **{"message.timeout.ms": limit})
        self._producer: Producer = Producer(options)
        self._cluster = "" if key is None else cluster_id(self._producer, self._topic)
        self._consumer: Consumer = Consumer(clients.reader(settings))
        begin = secrets.token_hex(8)
        self._idents = {f"{begin}-{number}": number for number in range(len(commands))}
        self._answers: dict[int, Answer] = {}
        self._refused: list[KafkaError] = []

    def __enter__(self) -> _Conversation:
        """Read from the present ends of both topics on."""
        from confluent_kafka import TopicPartition

        from runtime.kafka import clients
        from runtime.kafka.restore import end_offsets
        from streams.ids import partition_for

        numbers = {
            partition_for(_key_of(command).encode(), SCHEDULE_COMMANDS.partitions)
            for command in self._commands
        }
        dead = clients.topic_name(self._settings, DEAD_LETTERS[SCHEDULE_COMMANDS.name])
        places = []
        for topic in (self._state_topic, dead):
            ends = end_offsets(self._settings, topic, sorted(numbers))
            places += [TopicPartition(topic, number, end) for number, end in ends.items()]
        self._consumer.assign(places)
        return self

    def __exit__(self, *error: object) -> None:
        self._consumer.close()

    def run(self) -> list[Answer]:
        """The answer to each command, in their order."""
        from console import broker
        from runtime.clock import monotonic

        patience = monotonic() + ANSWER_SECONDS
        waiting = iter(self._idents.items())
        sent = 0
        while len(self._answers) < len(self._commands):
            while sent - len(self._answers) < _IN_FLIGHT:
                ident, number = next(waiting, ("", -1))
                if number < 0:
                    break
                self._produce(ident, self._commands[number])
                sent += 1
            self._producer.poll(0)
            if self._refused:
                raise Failure(
                    f"{self._topic} did not take the command: {self._refused[0].str()}",
                    Exit.UNREACHABLE,
                )
            before = len(self._answers)
            for message in self._consumer.consume(_BATCH, 0.1):
                if message.error() is None:
                    self._take(message)
            if len(self._answers) > before:
                patience = monotonic() + ANSWER_SECONDS
            elif monotonic() > patience:
                raise self._no_answer(sent)
        self._producer.flush(broker.PROBE_SECONDS)
        return [self._answers[number] for number in range(len(self._commands))]

    def _no_answer(self, sent: int) -> Failure:
        left = sent - len(self._answers)
        return Failure(
            f"no answer to {left} of {sent} commands within {ANSWER_SECONDS:.0f} s; they are on "
            f"{self._topic}, and a router will follow them",
            Exit.TIMED_OUT,
            "is a router running (runstream status)?",
        )

    def _produce(self, ident: str, command: Command) -> None:
        from console import signing
        from runtime.clock import iso, now
        from streams.envelope import SIGNATURE, headers

        name = _key_of(command)
        body = command.model_dump(mode="json", exclude_unset=True)
        value = orjson.dumps({"type": command.type, **body})
        head: HeaderList = [
            *headers(
                ident=ident, kind=f"schedule.{command.type}", source="cli", time=iso(now()),
                subject=name,
            )
        ]  # fmt: skip
        if self._key is not None:
            token = signing.token(self._key, SCHEDULE_COMMANDS, self._cluster, value)
            head.append((SIGNATURE, token))

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._refused.append(error)

        self._producer.produce(
            self._topic, key=name.encode(), value=value, headers=head, on_delivery=delivered
        )

    def _take(self, message: Message) -> None:
        from processors.schedules.state import decode
        from runtime.kafka.dead_letters import PREFIX
        from streams.envelope import header, message_headers

        if message.topic() != self._state_topic:
            given: Any = message_headers(message)
            number = self._idents.get(header(given, "ce_id") or "")
            if number is not None:
                said = header(given, f"{PREFIX}message") or "it cannot be decided about"
                self._answers.setdefault(number, Answer(None, said))
            return
        value = message.value()
        if value is None:
            return
        try:
            state = decode(value)
        except ValueError:
            return  # Of another version: then no answer is found, and the command says so.
        for ident in state.followed:
            number = self._idents.get(ident)
            if number is not None:
                self._answers.setdefault(number, Answer(state))


def _key_of(command: Command) -> str:
    return f"{command.tenant}/{command.name}"
