"""Authentication: whether a command or a cancel is the router's, and where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from authority.verifier import Proof, Verifier, refuse_command
from runtime import clock
from streams.commands import StepCommand
from streams.envelope import SIGNATURE, header, message_headers
from streams.ids import partition_for
from streams.topics import EXECUTORS_CONTROL

#: A command is on its topic so many seconds after it was signed, by the broker's clock: longer
#: than a transaction of the router can last. A record that comes later is a copy.
MAX_TRANSIT_SECONDS: Final = 60.0

#: Why a record is not the router's, None where it is; given the headers and the command.
RefuseCommand = Callable[[Message, list[tuple[str, Any]], StepCommand], str | None]


def command_check(verifier: Verifier, topic: str, partitions: int) -> RefuseCommand:
    """The check of the commands of one step topic, by its name without prefix.

    A copy of a signed command passes the signature. All copies of one command are in one
    partition, where its key belongs, so one instance at a time sees them; and soon after the
    original, while that instance remembers it.
    """

    def refuse(
        message: Message, headers: list[tuple[str, Any]], command: StepCommand
    ) -> str | None:
        found = verifier.check(message.value(), header(headers, SIGNATURE), topic, clock.now())
        wrong = refuse_command(found)
        if wrong is not None:
            return wrong
        key = (command.target or command.execution_id).encode()
        if message.key() != key or message.partition() != partition_for(key, partitions):
            return "it is not in the partition that the router writes it to: a copy"
        kind, milliseconds = message.timestamp()
        if isinstance(found, Proof) and kind == TIMESTAMP_LOG_APPEND_TIME:
            late = milliseconds / 1_000 - found.signed_at / 1_000_000
            if late > MAX_TRANSIT_SECONDS:
                return f"it was written {late:.0f} s after it was signed: a copy"
        return None

    return refuse


def refuse_cancel(verifier: Verifier, message: Message) -> str | None:
    """Why a record of `executors.control` is not the router's, or None."""
    token = header(message_headers(message), SIGNATURE)
    found = verifier.check(message.value(), token, EXECUTORS_CONTROL.name, clock.now())
    return refuse_command(found)
