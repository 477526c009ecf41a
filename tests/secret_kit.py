"""What tests of secrets share: a source with given values, and the whole way to an invocation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.context import Failure, RunContext
from drivers.registry import DRIVERS
from drivers.resources import Resources
from drivers.secret_use import Resolved, SecretError, Use
from processors.executors.binding import binder
from processors.executors.resolving import Unresolved, resolved
from streams.commands import StepCommand
from streams.reports import SecretUse
from tests.driver_kit import RecordedOutput, settings
from toolmeta import registry
from toolmeta.invocation import Invocation, Problem
from toolmeta.secret_references import SecretPath

REGISTRY = registry.load()


@dataclass
class Given:
    """A source of secrets that has these, by path; it keeps what it was asked."""

    values: Mapping[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Use]] = field(default_factory=list)

    async def resolve(self, path: SecretPath, use: Use) -> Resolved:
        """The value; raises SecretError where there is none."""
        self.asked.append((str(path), use))
        if str(path) not in self.values:
            raise SecretError(f"There is no secret {path}.")
        return Resolved(self.values[str(path)], "test")


def bound(source: Any, command: StepCommand) -> Invocation | Failure | list[Problem]:
    """What becomes of a command that an executor with this source of secrets claims and begins."""
    found = binder(REGISTRY, DRIVERS)(command)
    if not isinstance(found, Unresolved):
        return found
    return asyncio.run(begun(source, command, found))[0]


async def begun(
    source: Any, command: StepCommand, found: Unresolved
) -> tuple[Invocation | Failure, list[SecretUse]]:
    """The invocation with its secrets, and what was recorded of their use."""
    told: list[SecretUse] = []

    async def tell(uses: Sequence[SecretUse]) -> None:
        told.extend(uses)

    made = context(source, command)
    made.secrets_used = tell
    return await resolved(found, made), told


def context(source: Any, command: StepCommand, **changed: Any) -> RunContext:
    """One attempt whose secrets come from this source; settings of its executor by field name."""
    resources = Resources(settings(**changed), source)
    return RunContext(command, RecordedOutput(), resources, lambda percent, note: None)


def secret_file(folder: Path, name: str, text: str) -> Path:
    """A secret as a file that only its owner may read."""
    file = folder / name
    file.touch(mode=0o600)
    file.write_text(text)
    file.chmod(0o600)
    return file
