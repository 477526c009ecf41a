"""Secret references: `{"type": "secret", "path": "env/NAME"}` or `"file/NAME"` in a plan.

They are checked when a request is admitted, and resolved by the executor right before its tool
is bound. A colon is accepted for the slash.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

_PATH: Final = re.compile(r"(env|file)[/:]([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})")
REMEDY: Final = 'write {"type": "secret", "path": "env/NAME"} or "file/NAME"'


class SecretPath(NamedTuple):
    """Where a secret is: `env` for a variable of the executor, `file` for one of its files."""

    source: str
    name: str


def is_meant(value: Any) -> bool:
    """Whether the value is an object of type `secret`, well-formed or not."""
    return type(value) is dict and value.get("type") == "secret"


def path_of(value: Any) -> SecretPath | None:
    """The path of a well-formed reference, else None."""
    if not is_meant(value) or value.keys() != {"type", "path"} or type(value["path"]) is not str:
        return None
    found = _PATH.fullmatch(value["path"])
    return None if found is None else SecretPath(found[1], found[2])


def fault(value: dict[str, Any]) -> str | None:
    """What is wrong with an object of type `secret`, with the remedy; None if nothing is."""
    unknown = sorted(str(key)[:40] for key in value.keys() - {"type", "path"})
    if unknown:
        return f"is a secret reference with an unknown key {unknown[0]!r}; {REMEDY}"
    path = value.get("path")
    if path is None or path == "":
        return f"is a secret reference without a path; {REMEDY}"
    if type(path) is not str:
        return f"is a secret reference whose path is no text; {REMEDY}"
    if path_of(value) is None:
        # The path itself may be a secret in the wrong place: it is not shown.
        prefix = path.partition("/")[0].partition(":")[0]
        if prefix in ("env", "file"):
            return (
                f"is a secret reference whose name is not 1 to 128 letters, digits and _ . - "
                f"beginning with a letter, digit or _; {REMEDY}"
            )
        return f"is a secret reference whose path begins with neither env/ nor file/; {REMEDY}"
    return None
