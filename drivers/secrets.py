"""The secrets of an executor: what it resolves right before use, and what it masks for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Protocol

from drivers.connections import Connection, destination_and_address
from drivers.known_secrets import KnownSecrets
from drivers.secret_places import Place, Placed, destination_of
from drivers.secret_use import SOURCE, Resolved, SecretError, Use
from streams.commands import StepCommand
from streams.reports import SecretUse
from toolmeta.model import Tool
from toolmeta.secret_references import SecretPath, fault, is_meant, path_of

#: The parameter of a secret that the inventory names for the login of an asset.
LOGIN: Final = "login"


class SecretSource(Protocol):
    """The secret broker, or what stands for it in a test."""

    async def resolve(self, path: SecretPath, use: Use) -> Resolved:
        """The secret, if this use of it is allowed; raises SecretError."""
        ...


class NoSecrets:
    """The source of an executor without any."""

    async def resolve(self, path: SecretPath, use: Use) -> Resolved:
        """Raise SecretError."""
        raise SecretError(f"This executor has no source of {path.source}/ secrets.")


class Secrets:
    """Resolves references of commands and assets, and knows every value from then on."""

    def __init__(self, source: SecretSource | None = None, held: Iterable[str] = ()) -> None:
        """`held` are values that the process has for other reasons; no step can refer to them."""
        #: What every attempt masks.
        self.known = KnownSecrets(held)
        self._source = source or NoSecrets()

    async def resolve(self, path: SecretPath, use: Use) -> tuple[str, SecretUse]:
        """A secret, from now on masked everywhere, and its use; raises SecretError."""
        try:
            found = await self._source.resolve(path, use)
        except SecretError as error:
            if error.error_class == "secret_denied":
                rule = error.rule or SOURCE
                error.denied = SecretUse(
                    str(path), use.parameter, rule, use.destination, use.address
                )
            raise
        self.known.add(found.value, use.tenant, use.actor)
        told = SecretUse(str(path), use.parameter, found.rule, use.destination, use.address)
        return found.value, told

    async def resolved(
        self, tool: Tool, command: StepCommand, given: Placed, where: Connection | None = None
    ) -> tuple[dict[Place, str], list[SecretUse]]:
        """The secrets of all places of a command, and their uses; raises SecretError.

        `where` is how the step's host is reached, for tools that reach it by the inventory.
        """
        values: dict[Place, str] = {}
        uses: dict[SecretUse, None] = {}
        general = use_of(command)
        host, at = (None, None) if where is None else destination_and_address(where)
        for place in given.places:
            to = destination_of(tool, given, place.parameter, command)
            address = at if to == host else None
            use = replace(general, parameter=place.parameter, destination=to, address=address)
            values[place], told = await self.resolve(place.path, use)
            uses[told] = None
        return values, list(uses)

    async def login(
        self, reference: Any, command: StepCommand, parameter: str, where: Connection
    ) -> tuple[str, SecretUse]:
        """The secret of a login, of the step or of an asset; raises SecretError."""
        path = path_of(reference)
        if path is None:
            told = fault(reference) if is_meant(reference) else "is no secret reference"
            raise SecretError(f"The login of {where.name} {told}.")
        to, address = destination_and_address(where)
        use = replace(use_of(command), parameter=parameter, destination=to, address=address)
        return await self.resolve(path, use)


def use_of(command: StepCommand) -> Use:
    """What all secrets of a command are wanted for."""
    return Use(
        command.tenant,
        command.actor,
        command.tool,
        command.environment,
        command.execution_id,
        command.step,
        command.attempt,
        parameter=LOGIN,
    )
