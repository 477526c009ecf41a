"""From a command to an invocation, with the catalogue and the drivers of this process."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.context import Driver
from drivers.registry import DriverFault
from drivers.secret_places import placed
from processors.executors.claim import Bind
from processors.executors.resolving import Unresolved
from streams.commands import StepCommand
from toolmeta.bind import bind, expect
from toolmeta.definitions import CatalogueError
from toolmeta.invocation import Invocation, Problem
from toolmeta.model import Tool
from toolmeta.own_tools import SETTING
from toolmeta.registry import Registry


def binder(registry: Registry, drivers: Mapping[str, Driver]) -> Bind:
    """A `Bind` that refuses unknown tools, wrong parameters and drivers that are not usable.

    A command with secret references is bound as far as it can be: its secrets are resolved only
    when the attempt begins.
    """

    def bound(command: StepCommand) -> Invocation | Unresolved | list[Problem]:
        tool = registry.get(command.tool)
        if command.definition is not None and (tool is None or tool.digest != command.definition):
            found = _read_again(registry, command)
            if isinstance(found, Problem):
                return [found]
            tool = found
        if tool is None:
            return [Problem("tool", "this executor's catalogue has no tool of that name")]
        if tool.run.driver not in drivers:
            return [Problem("tool", f"this executor has no driver {tool.run.driver!r}")]
        try:
            # Here, in the thread of a lane and before the claim: loading takes long, and a step
            # whose driver lacks a library is refused before anything of it begins.
            drivers[tool.run.driver]
        except DriverFault as fault:
            return [Problem("tool", f"{fault}; install what this executor lacks, and restart it")]
        given = placed(tool, command)
        if isinstance(given, list):
            return given
        if not given.places:
            return bind(tool, given.parameters)
        expected = expect(tool, given.parameters)
        return expected if isinstance(expected, list) else Unresolved(tool, given, expected)

    return bound


def _read_again(registry: Registry, command: StepCommand) -> Tool | Problem:
    """The operator's own tool, by the definition that the plan was admitted by.

    The router may have read a changed file a moment before this process does.
    """
    try:
        registry.refresh()
    except CatalogueError as error:
        return Problem("tool", str(error))
    tool = registry.get(command.tool)
    if tool is None:
        message = f"no definition of it is in the {SETTING} of this executor"
        return Problem("tool", f"{message}; put there the file that the router has")
    if tool.digest != command.definition:
        message = f"its definition in the {SETTING} of this executor is not the one of the plan"
        return Problem("tool", f"{message}; use the router's file here, and submit the plan again")
    return tool
