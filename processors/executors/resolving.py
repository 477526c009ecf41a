"""The secrets of a claimed attempt: resolved, reported, and bound into its invocation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from drivers.connections import Connection
from drivers.context import Failure, RunContext
from drivers.errors import fail, secret_failure
from drivers.scripts import permission
from drivers.secret_manifests import values_within
from drivers.secret_places import Placed
from drivers.secret_use import SecretError
from drivers.step_connection import DRIVERS, connection_of_step
from toolmeta.bind import bind
from toolmeta.invocation import Invocation, Problem
from toolmeta.model import Tool


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A command that is valid as far as its secrets let that be known."""

    tool: Tool
    given: Placed
    #: Without arguments: its tool, driver, host, and whether it may be repeated.
    expected: Invocation


async def resolved(unresolved: Unresolved, context: RunContext) -> Invocation | Failure:
    """The invocation with its secrets; the broker has the report of their use by then.

    From here on all of them are masked. Nothing has been done yet, so every failure is before any
    effect.
    """
    command, expected = context.command, unresolved.expected
    store = context.resources.secrets
    where: Connection | None = None
    if expected.driver in DRIVERS:
        found = await connection_of_step(expected, context)
        if isinstance(found, Failure):
            return found
        where = found
        refused = permission.refusal(expected, context, where)
        if refused is not None:
            return refused
    try:
        values, uses = await store.resolved(unresolved.tool, command, unresolved.given, where)
        await context.secrets_used(uses)
    except SecretError as error:
        return secret_failure(expected, error)
    context.masker.add(*values.values())
    for value in values.values():
        context.masker.add(*values_within(value))
    parameters = unresolved.given.filled(values)
    bound: Invocation | list[Problem] | None = None
    try:
        bound = bind(unresolved.tool, parameters)
    except Exception as error:
        # A defect; its text may quote a value that was resolved just now.
        text = f"{unresolved.tool.name} cannot be bound: {type(error).__name__}"
        raise RuntimeError(text).with_traceback(error.__traceback__) from None
    if isinstance(bound, list):
        told = "; ".join(f"{one.field}: {one.message}" for one in bound)
        return fail(expected, "invalid_parameters", context.masker.text(told))
    return replace(bound, secrets=tuple(values.values()))
