"""What a call acts on besides its one target: lists of hosts, and what only the run can tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from toolmeta.check import apply_defaults
from toolmeta.checkers import is_reference
from toolmeta.model import Tool


@lru_cache(maxsize=1_024)
def list_names(tool: Tool) -> tuple[str, ...]:
    """The parameters that list what a call acts on, aliases included."""
    return tuple(
        spelling for name in tool.targets for spelling in (name, *tool.parameters[name].aliases)
    )


def listed(names: Iterable[str], parameters: dict[str, Any]) -> Iterator[Any]:
    """What these parameters list, one by one; a text stands for a list of one, or is a template."""
    for name in names:
        value = parameters.get(name)
        if isinstance(value, list):
            yield from value
        elif value is not None:
            yield value


def is_open(tool: Tool, parameters: dict[str, Any]) -> bool:
    """Whether the call may act on what no parameter names, such as the hosts of an inventory."""
    if not tool.any_target:
        return False
    given = apply_defaults(tool, parameters)
    for name, values in tool.any_target.items():
        value = given.get(name)
        if value is not None and (not values or value in values or is_reference(value)):
            return True
    return False
