"""What the claim decides about one command: start, refuse, skip, or dead letter; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pydantic import ValidationError

from processors.executors.approved import Unapproved
from processors.executors.resolving import Unresolved
from streams import ids
from streams.commands import CancelStep, StepCommand
from streams.vocabulary import Environment, at_most
from toolmeta.invocation import Invocation, Problem

MAJOR_VERSION: Final = 1

#: Resolves a command to its invocation, or says what is wrong with it.
Bind = Callable[[StepCommand], Invocation | Unresolved | list[Problem]]


class Place(NamedTuple):
    """Where the command of a traced attempt was read."""

    topic: str
    partition: int
    offset: int
    group: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a command is claimed and when it was sent; Unix seconds."""

    #: By the clock of this machine.
    now: float
    #: How far that clock is ahead of the broker's, in seconds.
    clock_ahead: float = 0.0
    #: By the broker's clock; None where the topic does not have the broker's time, or where
    #: the record is a copy of an older one.
    appended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """The attempt starts once the claim is committed."""

    command: StepCommand
    attempt_id: str
    #: With `unresolved`, only what is known of it before its secrets are.
    invocation: Invocation
    unresolved: Unresolved | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """The attempt does not start, and the report says why."""

    command: StepCommand
    reason: Literal["expired", "cancelled", "invalid", "environment", "not_approved", "fenced"]
    message: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not a command: it goes to the dead-letter topic as it is."""

    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class Forged:
    """No router has written this record for this place: it is reported, and never followed."""

    command: StepCommand
    message: str


@dataclass(frozen=True, slots=True)
class Skip:
    """This process claimed the same attempt before; it is reported, and not started again."""

    command: StepCommand


Decision = Start | Refuse | Unreadable | Forged | Skip


def decide(
    value: bytes | None,
    version: int | None,
    arrival: Arrival,
    environment: Environment,
    cancelled: Callable[[str], CancelStep | None],
    claimed: Callable[[str], bool],
    bind: Bind,
    refuse: Callable[[StepCommand], str | None],
    unapproved: Unapproved,
    fenced: Callable[[StepCommand], str | None] = lambda command: None,
) -> Decision:
    """What becomes of the record `value`.

    `version` is the major version that its type names, None where it names none; `environment` is
    what this executor serves; `refuse` says why the record is not the router's, None where it is;
    `unapproved` says whether an approval is missing; `fenced`, whether a lock that the command
    names has gone to somebody else.
    """
    if version not in (None, MAJOR_VERSION):
        return Unreadable(
            "unknown_version", f"The command has major version {version}; 1 is known here."
        )
    if value is None:
        return Unreadable("not_a_command", "The record has no value; a step command was expected.")
    try:
        command = StepCommand.model_validate_json(value)
    except ValidationError as error:
        return Unreadable("not_a_command", _where(error))
    if not ids.is_execution_id(command.execution_id):
        return Unreadable("not_a_command", "execution_id is not a UUIDv8 in canonical form.")
    refusal = refuse(command)
    if refusal is not None:
        return Forged(command, refusal)
    attempt = ids.attempt_id(command.execution_id, command.step, command.attempt)
    if claimed(attempt):
        return Skip(command)
    cancel = cancelled(attempt)
    if cancel is not None:
        return Refuse(command, "cancelled", f"The attempt was {cancel.reason} before its claim.")
    late = seconds_late(command, arrival)
    if late >= 0:
        return Refuse(command, "expired", _expired(late, arrival.clock_ahead))
    if command.environment != environment:
        return Refuse(command, "environment", _other_environment(command.environment, environment))
    missing = unapproved(command)
    if missing is not None:
        return Refuse(command, "not_approved", missing)
    lost = fenced(command)
    if lost is not None:
        return Refuse(command, "fenced", lost)
    bound = bind(command)
    if isinstance(bound, list):
        problems = "; ".join(f"{problem.field}: {problem.message}" for problem in bound)
        return Refuse(command, "invalid", problems[:2_000] or "The command cannot be bound.")
    if isinstance(bound, Unresolved):
        return Start(command, attempt, bound.expected, bound)
    return Start(command, attempt, bound)


def seconds_late(command: StepCommand, arrival: Arrival) -> float:
    """How long before the claim the command expired; negative while it is valid.

    The router's clock counts only as the difference of its two times: a command is valid for that
    long from the moment at which the broker appended it, so both are compared by one clock, the
    broker's.
    """
    now = arrival.now - arrival.clock_ahead
    if arrival.appended_at is None:
        return now - command.expires_at.timestamp()
    valid_for = (command.expires_at - command.dispatched_at).total_seconds()
    return now - (arrival.appended_at + valid_for)


def _expired(late: float, clock_ahead: float) -> str:
    text = f"The command expired {late:.1f} s before its claim."
    if clock_ahead:
        side = "ahead of" if clock_ahead > 0 else "behind"
        text += f" The executor's clock is {abs(clock_ahead):.1f} s {side} the broker's."
    return text


def _other_environment(planned: Environment, served: Environment) -> str:
    """What is wrong, and what to do: never a way to run in an environment without its approvals."""
    text = f"The plan's environment is {planned}, and this executor serves {served}; "
    if planned in at_most(served):
        return (
            f"{text}nothing was started. Write `environment: {served}` in the plan: it then "
            f"waits for the approvals of {served}."
        )
    return f"{text}nothing was started. Send the plan to the Runstream of {planned}."


def _where(error: ValidationError) -> str:
    """The first faults by field and kind; never the values, which may hold a secret."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = [f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['type']}" for fault in faults]
    return f"The value is not a step command ({', '.join(named[:5])})."
