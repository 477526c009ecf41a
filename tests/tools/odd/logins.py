"""Every call of a table over SSH or on the executor's own machine, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.context import Outcome
from drivers.resources import Resources
from drivers.secret_config import config_of
from drivers.secret_resolver import Resolver
from runtime.settings import ExecutorSettings
from tests.driver_kit import Run, command, settings
from tests.tools.odd.place import Place
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

#: Programs that run beside each other: half of what a server of SSH takes before it refuses.
_AT_ONCE = 4


@dataclass(frozen=True)
class Way:
    """How a call gets to where it runs."""

    host: str = ""
    #: The reference to a password, where the login has one.
    password: str = ""

    def command(self, tool: str) -> Any:
        secrets = {"ssh_password": {"type": "secret", "path": self.password}}
        return command(tool=tool, tenant="default", secrets=secrets if self.password else None)


def executor(place: Place, **changed: Any) -> ExecutorSettings:
    """Settings with which every call of the corpus may run."""
    allowed = {
        "allow_private_addresses": True,
        "startable_programs": ("printf", "no-such-program", "id"),
        "config_folders": (str(place.folder),),
    }
    return settings(**{**allowed, **changed})


def outcomes(
    calls: Mapping[str, dict[str, Any]], place: Place, way: Way, wanted: ExecutorSettings
) -> dict[str, Outcome]:
    """How each call ends, by its tool."""

    async def one(opened: Resources, tool: str, turn: asyncio.Semaphore) -> Outcome:
        parameters = place.filled(calls[tool]) | ({"host": way.host} if way.host else {})
        definition = load().get(tool)
        assert definition is not None, tool
        invocation = bind(definition, parameters)
        assert isinstance(invocation, Invocation), (tool, invocation)
        async with turn:
            return await Run(opened, invocation, way.command(tool)).outcome()

    async def inside() -> dict[str, Outcome]:
        resolver = Resolver(config_of(wanted, {})) if way.password else None
        opened = Resources(wanted, resolver)
        turn = asyncio.Semaphore(_AT_ONCE)
        try:
            found = await asyncio.gather(*(one(opened, tool, turn) for tool in calls))
            return dict(zip(calls, found, strict=True))
        finally:
            await opened.close()

    return asyncio.run(inside())
