"""Records of the topics of commands to schedules and triggers: decoded, or sent on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Final, Protocol, TypeVar

from confluent_kafka import Message
from pydantic import TypeAdapter, ValidationError

from runtime.kafka.hosted import Fault
from runtime.kafka.partition import Output
from streams.envelope import FORWARDED, header, message_headers
from streams.ids import partition_for
from streams.procedures import record_key
from streams.topics import Topic

#: Names that one is compared with; the loop of the router must not wait for more.
_MAX_COMPARED: Final = 1_000
_MAX_SENTENCE: Final = 500


class Keyed(Protocol):
    """What every command says: whose it is, and of which name."""

    @property
    def tenant(self) -> str:
        """Whose schedule or trigger."""

    @property
    def name(self) -> str:
        """Its name."""


C = TypeVar("C", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Place:
    """One partition of a topic of commands, which has `count` of them."""

    topic: Topic
    number: int
    count: int


def decode(
    message: Message, commands: TypeAdapter[C], limit: int, here: Place, out: Output
) -> C | Fault | None:
    """The command in a record; None where it belongs elsewhere, and was sent on."""
    value = message.value()
    if not value:
        return Fault("empty", "the record has no value")
    if len(value) > limit:
        return too_large(value, limit)
    try:
        command = commands.validate_json(value)
    except ValidationError as error:
        return Fault("invalid", _sentence(error))
    key = record_key(command.tenant, command.name)
    if message.key() != key.encode():
        return Fault("no_route_key", f"its key must be the tenant and the name, {key}")
    home = partition_for(key.encode(), here.count)
    return command if home == here.number else _forward(message, value, key, home, here, out)


def too_large(value: bytes, limit: int) -> Fault:
    """What a record is that has more than `limit` bytes."""
    return Fault("too_large", f"the record has {len(value)} bytes; {limit} are allowed")


def unknown(kind: str, name: str, known: Iterable[str]) -> Fault:
    """What a command is whose schedule or trigger (`kind`) is not applied; `known` are applied."""
    near = get_close_matches(name, list(islice(known, _MAX_COMPARED)), n=1)
    hint = f"did you mean {near[0]}?" if near else f"see `runstream {kind}s list`"
    return Fault(f"unknown_{kind}", f"name: there is no {kind} {name!r}; {hint}")


def _forward(
    message: Message, value: bytes, key: str, home: int, here: Place, out: Output
) -> Fault | None:
    """Send a record on that a client with another partitioner has put here, once."""
    given = message_headers(message)
    if header(given, FORWARDED) is not None:
        where = f"it lies in partition {here.number}, and its key {key} belongs in {home}"
        return Fault("misrouted", f"{where}; it was forwarded once already")
    kept = [(name, one) for name, one in given if one is not None]
    out.send(here.topic, key.encode(), value, [*kept, (FORWARDED, b"1")], home)
    return None


def _sentence(error: ValidationError) -> str:
    """What is wrong with the first field that is, with its name."""
    fault = error.errors(include_url=False, include_input=False)[0]
    # The first is the type that was read.
    where = [str(part)[:64] for part in fault["loc"][1:]]
    named = (fault.get("ctx") or {}).get("field")
    if named is not None:
        where.append(str(named))
    message = fault["msg"][:_MAX_SENTENCE]
    return f"{'.'.join(where)}: {message}" if where else message
