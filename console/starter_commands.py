"""Commands to schedules and triggers: sent, and waited for until a router has answered each.

A router that follows a command writes the id of its record in the state; one that refuses it makes
a dead letter of it, with the id and the sentence.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from console import broker, signing
from console.exits import Exit, Failure
from console.session import Session
from console.starter_files import Definition
from runtime.clock import iso, monotonic, now
from runtime.kafka import clients
from runtime.kafka.cluster import cluster_id
from runtime.kafka.dead_letters import PREFIX
from runtime.kafka.restore import end_offsets, read_changelog
from streams.envelope import SIGNATURE, header, headers, message_headers
from streams.ids import partition_for
from streams.procedures import record_key
from streams.topics import DEAD_LETTERS, Topic

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from runtime.kafka.dead_letters import HeaderList
    from runtime.settings import CommonSettings
    from streams.starter_commands import Pause, Remove, Resume

#: How long nothing may come before the command gives up.
ANSWER_SECONDS: Final = 10.0
#: Commands that are sent and not answered.
_IN_FLIGHT: Final = 500
_BATCH: Final = 500


class State(Protocol):
    """What a router keeps of one schedule or trigger."""

    tenant: str
    name: str
    #: The ids of the last commands that were followed.
    followed: list[str]


class Command(Protocol):
    """One command of an operator; see streams/starter_commands.py."""

    @property
    def tenant(self) -> str:
        """Whose schedule or trigger."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def type(self) -> str:
        """What is to be done."""

    def model_dump(self, *, mode: str, exclude_unset: bool) -> dict[str, Any]:
        """As a document."""


S = TypeVar("S", bound=State)
D = TypeVar("D", bound=Definition)


@dataclass(frozen=True, slots=True)
class Kind(Generic[S, D]):
    """Schedules, or triggers: their topics, their state, and what may be said to them."""

    name: str
    commands: Topic
    state: Topic
    #: The state in a record; raises ValueError, KeyError or TypeError for another version.
    decode: Callable[[bytes], S]
    #: The definition as it was applied last; None where it was removed.
    defined: Callable[[S], D | None]
    #: What programs are told.
    document: Callable[[CommonSettings, S], dict[str, Any]]
    #: The command of this tenant and actor that applies a definition.
    apply: Callable[[str, str, D], Command]
    remove: type[Remove]
    pause: type[Pause]
    resume: type[Resume]


@dataclass(frozen=True, slots=True)
class Answer(Generic[S]):
    """What became of a command: the state as it is then, or why it was refused."""

    state: S | None
    refused: str | None = None


def read(session: Session, kind: Kind[S, D]) -> dict[str, S]:
    """What is applied for the tenant, by name; raises Failure."""
    settings = session.settings
    numbers = range(broker.partitions(settings, kind.state))
    latest: dict[bytes, bytes | None] = {}
    try:
        for _, key, value in read_changelog(settings, kind.state, numbers):
            latest[key] = value
    except KafkaException as error:
        name = clients.topic_name(settings, kind.state)
        raise broker.refused(settings, name, error) from None
    try:
        states = [kind.decode(value) for value in latest.values() if value is not None]
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(
            f"the records of {kind.state.name} are of another version", Exit.FAILED
        ) from error
    return {
        state.name: state
        for state in sorted(states, key=lambda one: one.name)
        if state.tenant == session.tenant and kind.defined(state) is not None
    }


def send(session: Session, kind: Kind[S, D], commands: Sequence[Command]) -> list[Answer[S]]:
    """Send commands and wait for the answer to each; raises Failure where one does not come."""
    if not commands:
        return []
    settings = session.settings
    for topic in (kind.commands, kind.state):
        broker.partitions(settings, topic)
    conversation = _Conversation(session, kind, commands)
    try:
        return conversation.run()
    except KafkaException as error:
        name = clients.topic_name(settings, kind.commands)
        raise broker.refused(settings, name, error) from None
    finally:
        conversation.close()


class _Conversation(Generic[S, D]):
    """Commands that are sent, and what the routers write about them."""

    def __init__(self, session: Session, kind: Kind[S, D], commands: Sequence[Command]) -> None:
        self._session = session
        self._kind = kind
        self._commands = commands
        self._topic = clients.topic_name(session.settings, kind.commands)
        self._state_topic = clients.topic_name(session.settings, kind.state)
        limit = int(broker.PROBE_SECONDS * 1_000)
        options = clients.producer(session.settings, **{"message.timeout.ms": limit})
        self._producer: Producer = Producer(options)
        self._consumer: Consumer = Consumer(clients.reader(session.settings))
        self._cluster = ""
        begin = secrets.token_hex(8)
        self._idents = {f"{begin}-{number}": number for number in range(len(commands))}
        self._answers: dict[int, Answer[S]] = {}
        self._refused: list[KafkaError] = []

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def run(self) -> list[Answer[S]]:
        """The answer to each command, in their order; raises KafkaException and Failure."""
        self._listen()
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
            self._read()
            if len(self._answers) > before:
                patience = monotonic() + ANSWER_SECONDS
            elif monotonic() > patience:
                raise self._no_answer(sent)
        self._producer.flush(broker.PROBE_SECONDS)
        return [self._answers[number] for number in range(len(self._commands))]

    def _listen(self) -> None:
        """Read from the present ends of the state and of the dead letters on."""
        settings = self._session.settings
        if self._session.key is not None:
            self._cluster = cluster_id(self._producer, self._topic)
        numbers = sorted(
            {
                partition_for(_key_of(command).encode(), self._kind.commands.partitions)
                for command in self._commands
            }
        )
        places = []
        dead = clients.topic_name(settings, DEAD_LETTERS[self._kind.commands.name])
        for topic in (self._state_topic, dead):
            ends = end_offsets(settings, topic, numbers)
            places += [TopicPartition(topic, number, end) for number, end in ends.items()]
        self._consumer.assign(places)

    def _no_answer(self, sent: int) -> Failure:
        left = sent - len(self._answers)
        return Failure(
            f"no answer to {left} of {sent} commands within {ANSWER_SECONDS:.0f} s; they are on "
            f"{self._topic}, and a router will follow them",
            Exit.TIMED_OUT,
            "is a router running (runstream status)?",
        )

    def _produce(self, ident: str, command: Command) -> None:
        key = _key_of(command)
        body = command.model_dump(mode="json", exclude_unset=True)
        value = orjson.dumps({"type": command.type, **body})
        kind = f"{self._kind.name}.{command.type}"
        head: HeaderList = [
            *headers(ident=ident, kind=kind, source="cli", time=iso(now()), subject=key)
        ]
        if self._session.key is not None:
            token = signing.token(self._session.key, self._kind.commands, self._cluster, value)
            head.append((SIGNATURE, token))

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._refused.append(error)

        self._producer.produce(
            self._topic, key=key.encode(), value=value, headers=head, on_delivery=delivered
        )

    def _read(self) -> None:
        for message in self._consumer.consume(_BATCH, 0.1):
            error = message.error()
            if error is None:
                self._take(message)
            elif not error.retriable():
                raise KafkaException(error)

    def _take(self, message: Message) -> None:
        if message.topic() != self._state_topic:
            given = message_headers(message)
            number = self._idents.get(header(given, "ce_id") or "")
            if number is not None:
                said = header(given, f"{PREFIX}message") or "it cannot be decided about"
                self._answers.setdefault(number, Answer(None, said))
            return
        value = message.value()
        if value is None:
            return
        try:
            state = self._kind.decode(value)
        except (KeyError, TypeError, ValueError):
            return  # Of another version: then no answer is found, and the command says so.
        for ident in state.followed:
            number = self._idents.get(ident)
            if number is not None:
                self._answers.setdefault(number, Answer(state))


def _key_of(command: Command) -> str:
    return record_key(command.tenant, command.name)
