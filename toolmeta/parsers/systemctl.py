"""`systemctl show` (KEY=value) and `list-units --output=json`; other verbs have no output."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NUMBERS: Final = frozenset({"MainPID", "NRestarts", "MemoryCurrent", "ExecMainStatus"})


def parse(stdout: str) -> dict[str, Any]:
    """The units of a list, or the properties of one unit in snake case with `is_active`."""
    if stdout.lstrip().startswith("["):
        units = orjson.loads(stdout)
        return {"units": units, "count": len(units)}
    found: dict[str, Any] = {}
    for line in stdout.split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            number = key in _NUMBERS and value.isdigit()
            found[_CAPITAL.sub("_", key).lower()] = int(value) if number else value
    if "active_state" in found:
        found["is_active"] = found["active_state"] == "active"
    return found
