"""Secret references: `{"type": "secret", "path": "env/NAME"}` or `"file/NAME"` in a plan.

They are literals of the plan: checked when a request is admitted, where `pointers` says at which
places they stand, and resolved by the executor at those places only, right before its tool is
bound. What rendering puts anywhere is data, whatever it looks like. A colon is accepted for the
slash.
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


def pointers(parameters: dict[str, Any]) -> tuple[str, ...]:
    """The places of all well-formed references in parameters, as JSON pointers (RFC 6901)."""
    found: list[str] = []
    waiting: list[tuple[str, Any]] = [("", parameters)]
    while waiting:
        pointer, value = waiting.pop()
        if path_of(value) is not None:
            found.append(pointer)
        elif type(value) is dict:
            waiting.extend((f"{pointer}/{escape(name)}", item) for name, item in value.items())
        elif type(value) is list:
            waiting.extend((f"{pointer}/{index}", item) for index, item in enumerate(value))
    return tuple(sorted(found))


def escape(name: str) -> str:
    """A name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def fault_of(value: Any) -> str:
    """What is wrong with a value of a step's `secrets` that is no well-formed reference."""
    found = fault(value) if is_meant(value) else None
    return found or f"is no secret reference; {REMEDY}"


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
