"""Whether the lock of an attempt covers every name that the inventory has for its assets.

The lock keeper has no database: it knows the names that were reported to it. A plan that names an
asset by one name and a plan that names it by another must not act on it at the same time, so an
attempt with too small a lock does not begin, and its report says which names are missing.
"""

from __future__ import annotations

import asyncio
from typing import Final

from drivers.asset_environments import hosts_in
from drivers.context import Failure, RunContext
from drivers.databases.inventory_faults import inventory_faults
from drivers.errors import fail
from streams.commands import StepCommand
from toolmeta.invocation import Invocation
from toolmeta.locking import LOCK_NAMES, lock_key, names_of

#: Assets that have a name of the step's, besides one for each; more share it by mistake.
_MOST: Final = 64
_CHECK_SECONDS: Final = 20.0


async def refusal(invocation: Invocation, context: RunContext) -> Failure | None:
    """Why the step may not begin, None where it may; nothing is connected to but the inventory.

    Where the inventory cannot be asked, the step fails as `unreachable`, which is transient.
    """
    command, resources = context.command, context.resources
    keys = _named(command)
    if not keys or resources.settings.assets_database_url is None:
        return None
    # With an inventory only: its library takes long to load.
    from drivers.databases import inventory

    most = _MOST + len(keys)
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            pool = await resources.database()
            async with pool.connection() as connection:
                rows = await inventory.having(connection, command.tenant, keys, most + 1)
    except inventory_faults(TimeoutError) as error:
        message = f"the inventory cannot be asked about the step's assets: {type(error).__name__}"
        return fail(invocation, "unreachable", message)
    if len(rows) > most:
        message = (
            f"more than {most} assets of the inventory have one of the names {_text(keys)}, so "
            "which one is locked cannot be told: give each asset an address of its own"
        )
        return fail(invocation, "conflict", message)
    covered = command.fencing_tokens or {}
    missing = [name for row in rows for name in names_of(row) if name not in covered]
    if not missing:
        return None
    message = (
        f"the inventory has {_text(missing)} as further names of {_text(keys)}, and the lock does "
        "not cover them; nothing was done. Where this is the last attempt, somebody changes these "
        "rows of the inventory all the time, or the execution locks too many names: run it again, "
        "or split the plan"
    )
    return fail(invocation, LOCK_NAMES, message, {"assets": rows})


def _named(command: StepCommand) -> list[str]:
    """The keys that the step itself names and locks."""
    written = hosts_in(command.parameters)
    found = map(lock_key, (command.target, *(command.assets or ()), *written))
    tokens = command.fencing_tokens or {}
    return [key for key in dict.fromkeys(found) if key is not None and key in tokens]


def _text(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
