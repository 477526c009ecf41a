"""What an import would change: from hosts of a file and stored assets to steps of a plan; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from console.inventory_model import GROUP_TAG, BadFile, HostFound, templated
from streams.vocabulary import at_most
from toolmeta.check import check

if TYPE_CHECKING:
    from streams.vocabulary import Environment
    from toolmeta.registry import Registry

#: Of one plan; the router takes more, and a page of it would not.
MAX_STEPS: Final = 500
MAX_PLAN_BYTES: Final = 250_000
_LOGIN: Final = ("password", "key")

Value = Any


@dataclass(frozen=True, slots=True)
class Change:
    """One asset to write: the call, and what it changes as (before, after)."""

    hostname: str
    tool: str
    parameters: dict[str, Value]
    fields: dict[str, tuple[Value, Value]]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an import would do."""

    new: list[Change]
    changed: list[Change]
    unchanged: int

    @property
    def all(self) -> list[Change]:
        """New ones first."""
        return [*self.new, *self.changed]


def changes_of(
    hosts: Iterable[HostFound],
    stored: Mapping[str, dict[str, Value]],
    environment: Environment | None,
    tools: Registry,
) -> Changes:
    """Compare; raises BadFile where a host cannot be written. What a file does not say stays."""
    new: list[Change] = []
    changed: list[Change] = []
    unchanged = 0
    for host in hosts:
        row = stored.get(host.hostname)
        change = _created(host, environment) if row is None else _updated(host, row, environment)
        if change is None:
            unchanged += 1
            continue
        _check(change, host, row, environment or "dev", tools)
        (new if row is None else changed).append(change)
    return Changes(new, changed, unchanged)


def _created(host: HostFound, environment: Environment | None) -> Change:
    facts: dict[str, Value] = _facts(host, environment)
    tags = {**host.tags, **{GROUP_TAG + group: "" for group in host.groups or ()}}
    if tags:
        facts["tags"] = tags
    connection = {name: value for name, value in host.connection.items() if value not in (None, [])}
    if connection:
        facts["metadata"] = {"connection": connection}
    fields = {name: (None, value) for name, value in facts.items()}
    return Change(host.hostname, "asset_create", {"hostname": host.hostname, **facts}, fields)


def _updated(
    host: HostFound, row: Mapping[str, Value], environment: Environment | None
) -> Change | None:
    facts = _facts(host, environment)
    fields: dict[str, tuple[Value, Value]] = {
        name: (row[name], value) for name, value in facts.items() if row[name] != value
    }
    tags = _tags(host, row["tags"])
    if tags != row["tags"]:
        fields["tags"] = (row["tags"], tags)
    before = row["metadata"].get("connection") if isinstance(row["metadata"], dict) else None
    before = before if isinstance(before, dict) else {}
    after = _connection(host, before)
    # A login goes to another address only with the connection itself.
    moved = "ip_address" in fields and any(before.get(name) for name in _LOGIN)
    if after != before:
        fields["connection"] = (before, after)
    if not fields:
        return None
    parameters: dict[str, Value] = {"hostname": host.hostname, "version": row["version"]}
    parameters |= {name: after for name, (_, after) in fields.items() if name != "connection"}
    if "connection" in fields or moved:
        rest = {name: value for name, value in row["metadata"].items() if name != "connection"}
        parameters["metadata"] = {**rest, "connection": after or None}
    return Change(host.hostname, "asset_update", parameters, fields)


def _facts(host: HostFound, environment: Environment | None) -> dict[str, Value]:
    facts = dict(host.facts)
    if environment is not None:
        facts.setdefault("environment", environment)
    return facts


def _tags(host: HostFound, stored: Mapping[str, str]) -> dict[str, str]:
    """Tags of groups are the file's where it knows groups; every other tag stays."""
    if host.groups is None:
        kept = dict(stored)
    else:
        kept = {name: text for name, text in stored.items() if not name.startswith(GROUP_TAG)}
    return {**kept, **host.tags, **{GROUP_TAG + group: "" for group in host.groups or ()}}


def _connection(host: HostFound, before: Mapping[str, Value]) -> dict[str, Value]:
    """The stored connection with what the file says; a name alone is a list of one."""
    after = dict(before)
    for name, value in host.connection.items():
        if value in (None, []):
            after.pop(name, None)
        elif not (name == "jump" and [before.get(name)] == value):
            after[name] = value
    return after


def _check(
    change: Change,
    host: HostFound,
    row: Mapping[str, Value] | None,
    environment: Environment,
    tools: Registry,
) -> None:
    """Refuse what the plan would not do, with the line of the file; raises BadFile."""
    where = f"line {host.line}: {host.hostname}"
    if row is not None and row["environment"] not in at_most(environment):
        raise BadFile(
            f"{where} is an asset of {row['environment']}, which a plan of {environment} does not "
            f"change; import with --environment {row['environment']}"
        )
    if templated(_texts(change.parameters)):
        raise BadFile(f"{where} holds {{{{, which a plan would evaluate; change it by asset_update")
    tool = tools.get(change.tool)
    if tool is None:
        raise BadFile(f"the catalogue has no {change.tool}")
    problems = check(tool, change.parameters, references_allowed=True)
    if problems:
        field = problems[0].field.removeprefix("parameters.")
        raise BadFile(f"{where}: {field}: {problems[0].message}")


def _texts(value: Value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from (*_texts(name), *_texts(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def plans(changes: Changes, environment: Environment) -> Iterator[dict[str, Value]]:
    """Ordinary plans of asset steps, none of which stops another."""
    steps: list[dict[str, Value]] = []
    size = 0
    for number, change in enumerate(changes.all, 1):
        step = {
            "id": f"asset-{number}", "tool": change.tool, "parameters": change.parameters,
            "depends_on": [], "on_failure": "continue",
        }  # fmt: skip
        room = len(json.dumps(step).encode())
        if steps and (len(steps) == MAX_STEPS or size + room > MAX_PLAN_BYTES):
            yield _plan(steps, environment)
            steps, size = [], 0
        steps.append(step)
        size += room
    if steps:
        yield _plan(steps, environment)


def _plan(steps: list[dict[str, Value]], environment: Environment) -> dict[str, Value]:
    return {"plan": {"name": "import assets", "environment": environment, "steps": steps}}
