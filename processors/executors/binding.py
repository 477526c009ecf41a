"""From a command to an invocation, with the catalogue and the drivers of this process."""

from __future__ import annotations

from collections.abc import Collection

from drivers.secret_places import placed
from processors.executors.claim import Bind
from processors.executors.resolving import Unresolved
from streams.commands import StepCommand
from toolmeta.bind import bind, expect
from toolmeta.invocation import Invocation, Problem
from toolmeta.registry import Registry


def binder(registry: Registry, drivers: Collection[str]) -> Bind:
    """A `Bind` that refuses unknown tools, wrong parameters and drivers that are not here.

    A command with secret references is bound as far as it can be: its secrets are resolved only
    when the attempt begins.
    """

    def bound(command: StepCommand) -> Invocation | Unresolved | list[Problem]:
        tool = registry.get(command.tool)
        if tool is None:
            return [Problem("tool", "this executor's catalogue has no tool of that name")]
        if tool.run.driver not in drivers:
            return [Problem("tool", f"this executor has no driver {tool.run.driver!r}")]
        given = placed(tool, command)
        if isinstance(given, list):
            return given
        if not given.places:
            return bind(tool, given.parameters)
        expected = expect(tool, given.parameters)
        return expected if isinstance(expected, list) else Unresolved(tool, given, expected)

    return bound
