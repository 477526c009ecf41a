"""The `asset` driver: the inventory of one tenant, in Postgres.

Calls and arguments (facts: `ip_address`, `asset_type`, `status`, `environment`, `location`,
`owner`, `os_type`, `os_version`, `service_type`, `tags`, `metadata`):
`create`: `hostname` and facts, of the plan's environment where none is given; the same content
again is no error, another is a conflict;
`query`, `list`: facts as filters, a part of the `hostname`, `tags` that it has with these values,
`tag_names` whatever their value, `limit` (100, at most 1000), `offset`; ordered by host name;
`update`: `asset_id` or `hostname`, both must agree; `new_hostname`, the facts to set; `version`
(refused where the asset has another one by now); `metadata` keeps the connection that it does not
name (null removes it);
`delete`: `asset_id`, `hostname` or `ip_address`, `confirm: true`, `version`; exactly one asset must
match, and all that is given must fit it.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any, Final

import orjson
import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from drivers.asset_environments import stricter_asset
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.databases import asset_connection, inventory
from drivers.databases.failures import failed
from drivers.errors import fail
from drivers.resources import NoInventory
from drivers.values import OUTPUT_BYTES, jsonable
from streams.commands import StepCommand
from streams.vocabulary import at_most, stored_environment
from toolmeta.invocation import Invocation

_LIMIT: Final = 100
_MOST: Final = 1_000
#: The calls that store metadata.
_WRITING: Final = frozenset({"create", "update"})

Arguments = dict[str, Any]


class AssetDriver:
    """Every call is one transaction; a cancelled one is rolled back."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Act on the assets of the command's tenant."""
        calls = {
            "create": _create,
            "query": _list,
            "list": _list,
            "update": _update,
            "delete": _delete,
        }
        call = calls.get(invocation.call or "")
        if call is None:
            message = f"asset has no operation {invocation.call!r}"
            return fail(invocation, "invalid_parameters", message)
        arguments = jsonable(
            {name: value for name, value in invocation.arguments.items() if value is not None}
        )
        problem = _normalise(arguments)
        if problem is None and invocation.call in _WRITING:
            recorded = context.command.secret_paths
            problem = asset_connection.fault(arguments.get("metadata", {}), recorded)
        if problem is not None:
            return fail(invocation, "invalid_parameters", problem)
        context.not_acting()
        try:
            pool = await context.resources.database()
        except NoInventory:
            message = "this executor has no inventory: RUNSTREAM_ASSETS_DATABASE_URL is not set"
            return fail(invocation, "not_configured", message)
        try:
            async with pool.connection() as connection, connection.transaction():
                outcome = await call(invocation, connection, context.command, arguments)
                # Until here a cancel rolls back; from here on it may come after the COMMIT.
                context.acting()
                return outcome
        except asyncio.CancelledError:
            if context.stop.ended:
                context.evidence["transaction"] = "rolled back"
            else:
                context.evidence["cancel_unconfirmed"] = "the COMMIT was sent and may hold"
            raise
        except (psycopg.Error, PoolTimeout, TooManyRequests) as error:
            return failed(invocation, error)


def _normalise(arguments: Arguments) -> str | None:
    """Bring the arguments into the form in which they are stored; returns what is wrong."""
    for field in ("hostname", "new_hostname"):
        if field in arguments:
            arguments[field] = str(arguments[field]).strip().rstrip(".").lower()
            if not 0 < len(arguments[field]) <= 253:
                return f"{field}: 1 to 253 characters"
    if "ip_address" in arguments:
        try:
            arguments["ip_address"] = str(ip_address(str(arguments["ip_address"])))
        except ValueError:
            return "ip_address: not an IP address"
    if "environment" in arguments:
        arguments["environment"] = stored_environment(arguments["environment"])
    if not isinstance(arguments.get("metadata", {}), dict):
        return "metadata: must be an object"
    return None


def _facts(arguments: Arguments) -> Arguments:
    """The columns to write or compare."""
    return {name: arguments[name] for name in inventory.FIELDS if name in arguments}


def _shown(row: Arguments) -> Arguments:
    """An asset as it is returned to callers."""
    shown: Arguments = jsonable(row)
    return shown


async def _create(
    invocation: Invocation,
    connection: inventory.Connection,
    plan: StepCommand,
    arguments: Arguments,
) -> Outcome:
    facts = _facts(arguments)
    if "hostname" not in facts:
        return fail(invocation, "invalid_parameters", "hostname is missing")
    if "metadata" in facts:
        facts["metadata"] = asset_connection.kept({}, facts["metadata"])
    made = await inventory.insert(
        connection, plan.tenant, {"environment": plan.environment, **facts}
    )
    if made is not None:
        return Success({"created": True, "asset": _shown(made)})
    there = await inventory.locked(connection, plan.tenant, {"hostname": facts["hostname"]})
    if not there:
        return fail(invocation, "busy", "the asset was created and deleted meanwhile")
    other = sorted(name for name, value in facts.items() if there[0][name] != value)
    if not other:
        return Success({"created": False, "asset": _shown(there[0])})
    message = f"{facts['hostname']} exists with another {', '.join(other)}: use an update"
    return fail(invocation, "conflict", message, {"asset": _shown(there[0])})


async def _list(
    invocation: Invocation,
    connection: inventory.Connection,
    plan: StepCommand,
    arguments: Arguments,
) -> Outcome:
    filters = _facts(arguments)
    if "hostname" in filters:
        filters["hostname_part"] = filters.pop("hostname")
    if "asset_id" in arguments:
        filters["asset_id"] = int(arguments["asset_id"])
    if arguments.get("tag_names"):
        filters["tag_names"] = arguments["tag_names"]
    limit = max(1, min(int(arguments.get("limit", _LIMIT)), _MOST))
    offset = max(0, int(arguments.get("offset", 0)))
    rows = await inventory.select(connection, plan.tenant, filters, limit, offset)
    assets: list[Arguments] = []
    room = OUTPUT_BYTES - 1_000
    for row in rows:
        asset = _shown(row)
        room -= len(orjson.dumps(asset)) + 1
        if room < 0:
            break
        assets.append(asset)
    return Success(
        {
            "assets": assets,
            # Of all on the page, also where the assets themselves would not fit.
            "hostnames": [row["hostname"] for row in rows],
            "count": len(assets),
            "total": await inventory.count(connection, plan.tenant, filters),
            "limit": limit,
            "offset": offset,
            # Fewer than `limit`, because more would not fit: go on at offset + count.
            "truncated": len(assets) < len(rows),
        }
    )


async def _update(
    invocation: Invocation,
    connection: inventory.Connection,
    plan: StepCommand,
    arguments: Arguments,
) -> Outcome:
    found = await _one(invocation, connection, plan, arguments, _KEYS[:2])
    if isinstance(found, Failure):
        return found
    facts = _facts(arguments)
    facts.pop("hostname", None)
    if "new_hostname" in arguments:
        facts["hostname"] = arguments["new_hostname"]
    if "metadata" in facts:
        facts["metadata"] = asset_connection.kept(found["metadata"], facts["metadata"])
    changes = {name: value for name, value in facts.items() if found[name] != value}
    if not changes:
        # Also a repeated attempt whose first run succeeded without a report, `version` or not.
        return Success({"updated": False, "changed": [], "asset": _shown(found)})
    if (stale := _stale(invocation, found, arguments)) is not None:
        return stale
    if (problem := asset_connection.moves_login(found, changes, arguments)) is not None:
        return fail(invocation, "invalid_parameters", problem)
    after = await inventory.update(connection, plan.tenant, found["asset_id"], changes)
    output = {"updated": True, "changed": sorted(changes), "asset": _shown(after or {})}
    return Success(output)


async def _delete(
    invocation: Invocation,
    connection: inventory.Connection,
    plan: StepCommand,
    arguments: Arguments,
) -> Outcome:
    if arguments.get("confirm") is not True:
        message = "an asset is deleted only with confirm: true"
        return fail(invocation, "invalid_parameters", message)
    found = await _one(invocation, connection, plan, arguments, _KEYS)
    if isinstance(found, Failure):
        return found
    if (stale := _stale(invocation, found, arguments)) is not None:
        return stale
    await inventory.delete(connection, plan.tenant, found["asset_id"])
    return Success({"deleted": True, "asset": _shown(found)})


#: What finds one asset, in the order in which it is looked for.
_KEYS: Final = ("asset_id", "hostname", "ip_address")


async def _one(
    invocation: Invocation,
    connection: inventory.Connection,
    plan: StepCommand,
    arguments: Arguments,
    keys: tuple[str, ...],
) -> Arguments | Failure:
    """The one asset that the arguments mean, locked; everything that names it must fit,
    and the plan's environment must be at least as strict as its own."""
    given = [key for key in keys if key in arguments]
    if not given:
        message = f"{', '.join(keys[:-1])} or {keys[-1]} is missing"
        return fail(invocation, "invalid_parameters", message)
    key = given[0]
    found = await inventory.locked(connection, plan.tenant, {key: arguments[key]})
    if not found:
        return fail(invocation, "not_found", f"there is no asset with {key} {arguments[key]}")
    if len(found) > 1:
        message = f"several assets have the {key} {arguments[key]}: none was touched"
        return fail(invocation, "conflict", message)
    for other in given[1:]:
        if found[0][other] != arguments[other]:
            message = f"{key} {arguments[key]} has the {other} {found[0][other]}"
            return fail(invocation, "conflict", f"{message}, not {arguments[other]}")
    if found[0]["environment"] not in at_most(plan.environment):
        # Else a plan of dev could make an asset of prod one of dev, or take it out of the
        # inventory, and then act on it without an approval.
        asset = (found[0]["hostname"], found[0]["environment"])
        return fail(invocation, "environment", stricter_asset(*asset, plan.environment))
    return found[0]


def _stale(invocation: Invocation, found: Arguments, arguments: Arguments) -> Failure | None:
    wanted = arguments.get("version")
    if wanted is None or int(wanted) == found["version"]:
        return None
    name, version = found["hostname"], found["version"]
    message = f"{name} has version {version}, not {wanted}: it was changed meanwhile"
    return fail(invocation, "conflict", message, {"asset": _shown(found)})
