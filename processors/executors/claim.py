"""The claim's verdict on one command: start it, refuse it, park it, or let it pass; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import ValidationError

from streams import ids
from streams.commands import CancelStep, StepCommand
from toolmeta.invocation import Invocation, Problem

MAJOR_VERSION: Final = 1

#: Resolves a command to its invocation, or says what is wrong with it.
Bind = Callable[[StepCommand], Invocation | list[Problem]]


@dataclass(frozen=True, slots=True)
class Start:
    """The attempt starts once the claim is committed."""

    command: StepCommand
    attempt_id: str
    invocation: Invocation


@dataclass(frozen=True, slots=True)
class Refuse:
    """The attempt does not start, and the report says why."""

    command: StepCommand
    reason: Literal["expired", "cancelled", "invalid"]
    message: str


@dataclass(frozen=True, slots=True)
class Park:
    """Not a command: it goes to the dead-letter topic as it is."""

    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class Pass:
    """This process claimed the same attempt before; it is not started again, nor reported."""

    command: StepCommand


Verdict = Start | Refuse | Park | Pass


def judge(
    value: bytes | None,
    version: int | None,
    now: float,
    cancelled: Callable[[str], CancelStep | None],
    claimed: Callable[[str], bool],
    bind: Bind,
) -> Verdict:
    """What becomes of the record `value` at `now` (Unix seconds).

    `version` is the major version that its type names, None where it names none.
    """
    if version not in (None, MAJOR_VERSION):
        return Park("unknown_version", f"The command has major version {version}; 1 is known here.")
    if value is None:
        return Park("not_a_command", "The record has no value; a step command was expected.")
    try:
        command = StepCommand.model_validate_json(value)
    except ValidationError as error:
        return Park("not_a_command", _where(error))
    if not ids.is_execution_id(command.execution_id):
        return Park("not_a_command", "execution_id is not a UUIDv8 in canonical form.")
    attempt = ids.attempt_id(command.execution_id, command.step, command.attempt)
    if claimed(attempt):
        return Pass(command)
    cancel = cancelled(attempt)
    if cancel is not None:
        return Refuse(command, "cancelled", f"The attempt was {cancel.reason} before its claim.")
    late = now - command.expires_at.timestamp()
    if late >= 0:
        return Refuse(command, "expired", f"The command expired {late:.1f} s before its claim.")
    bound = bind(command)
    if isinstance(bound, list):
        problems = "; ".join(f"{problem.field}: {problem.message}" for problem in bound)
        return Refuse(command, "invalid", problems[:2_000] or "The command cannot be bound.")
    return Start(command, attempt, bound)


def _where(error: ValidationError) -> str:
    """The first faults by field and kind; never the values, which may hold a secret."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = [f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['type']}" for fault in faults]
    return f"The value is not a step command ({', '.join(named[:5])})."
