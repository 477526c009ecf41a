"""What a call of an admitted plan acts on, as far as it is known before the run. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from streams.admitted import AdmittedStep
from toolmeta import step_hosts, targets
from toolmeta.bind import target_key
from toolmeta.hosts import of_other_machines
from toolmeta.model import Tool

#: The asset of a step that acts on the executor's own machine.
LOCAL: Final = "localhost"
_HERE: Final = frozenset({LOCAL, "localhost.localdomain"})
_EACH_ITEM: Final = re.compile(r"\{\{\s*item\s*\}\}")


@lru_cache(maxsize=1_024)
def _names_of_targets(tool: Tool) -> tuple[str, ...]:
    """Every parameter that can name what a call of the tool acts on, or where it runs."""
    found: list[str] = []
    for name in dict.fromkeys((*tool.target, "host")):
        shape = tool.parameters.get(name)
        found += (name, *shape.aliases) if shape is not None else ()
    return tuple(found)


def assets_of(
    spec: AdmittedStep, tool: Tool | None, for_each: str | list[Any] | None
) -> list[str | None]:
    """What a call acts on, each once; None stands for what only the run will tell.

    Every parameter that can name a target counts, not only the first that is set, every host of
    one that lists them, and so do `assets` and the hosts that the connection goes through: a
    database client acts on its server, and on the host where it runs.
    """
    found: dict[str | None, None] = {}
    names = () if tool is None else _names_of_targets(tool)
    lists = spec.targets if tool is None else targets.list_names(tool)
    single = (spec.parameters.get(name) for name in dict.fromkeys((*spec.target, *names)))
    for value in (*single, *targets.listed(lists, spec.parameters)):
        if value is None or value == "":
            continue
        if isinstance(value, str) and _EACH_ITEM.fullmatch(value.strip()):
            items = for_each if isinstance(for_each, list) else [None]
            found.update((_asset(item), None) for item in items)
        else:
            found[_asset(value)] = None
    if not found and spec.target_default is not None:
        found[spec.target_default] = None
    for value in (*(spec.assets or ()), *step_hosts.jump_hosts(spec.connection)):
        found[_asset(value)] = None
    if tool is not None and targets.is_open(tool, spec.parameters):
        found[None] = None
    return list(found) or [LOCAL]


def _asset(value: Any) -> str | None:
    key = target_key(value)
    if key is None or key in _HERE:
        return None if key is None else LOCAL
    return of_other_machines(key) or LOCAL
