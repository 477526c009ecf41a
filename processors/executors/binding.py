"""From a command to an invocation, with the catalogue and the drivers of this process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from drivers.masking import Masker
from drivers.secrets import Secrets
from processors.executors.claim import Bind
from streams.commands import StepCommand
from toolmeta.bind import bind
from toolmeta.invocation import Invocation, Problem
from toolmeta.registry import Registry


def binder(registry: Registry, drivers: Collection[str], secrets: Secrets | None = None) -> Bind:
    """A `Bind` that refuses unknown tools, wrong parameters and drivers that are not here.

    Secret references are resolved first; what is said about a wrong value is masked.
    """
    store = secrets or Secrets()

    def bound(command: StepCommand) -> Invocation | list[Problem]:
        tool = registry.get(command.tool)
        if tool is None:
            return [Problem("tool", "this executor's catalogue has no tool of that name")]
        resolved = store.resolved(tool, command)
        if isinstance(resolved, list):
            return resolved
        parameters, values = resolved
        try:
            invocation = bind(tool, parameters)
        except Exception as error:
            # A defect; it is logged, and its text may quote a value that was resolved just now.
            text = f"{tool.name} cannot be bound: {type(error).__name__}"
            raise RuntimeError(text).with_traceback(error.__traceback__) from None
        if isinstance(invocation, list):
            masker = Masker(values, store.known)
            return [Problem(one.field, masker.text(one.message)) for one in invocation]
        if invocation.driver not in drivers:
            return [Problem("tool", f"this executor has no driver {invocation.driver!r}")]
        return replace(invocation, secrets=values) if values else invocation

    return bound
