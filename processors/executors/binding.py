"""From a command to an invocation, with the catalogue and the drivers of this process."""

from __future__ import annotations

from collections.abc import Collection

from processors.executors.claim import Bind
from streams.commands import StepCommand
from toolmeta.bind import bind
from toolmeta.invocation import Invocation, Problem
from toolmeta.registry import Registry


def binder(registry: Registry, drivers: Collection[str]) -> Bind:
    """A `Bind` that refuses unknown tools, wrong parameters and drivers that are not here."""

    def bound(command: StepCommand) -> Invocation | list[Problem]:
        tool = registry.get(command.tool)
        if tool is None:
            return [Problem("tool", "this executor's catalogue has no tool of that name")]
        invocation = bind(tool, command.parameters)
        if isinstance(invocation, Invocation) and invocation.driver not in drivers:
            return [Problem("tool", f"this executor has no driver {invocation.driver!r}")]
        return invocation

    return bound
