"""Secret references: `{"type": "secret", "path": "…"}` in a plan.

The path is `env/NAME`, `file/NAME`, `vault/<mount>/<path>#<field>`, `aws/<name>` or
`aws/<name>#<field>`; a colon is accepted for the slash after the source. References are literals of
the plan: checked when a request is admitted, where `pointers` says at which places they stand, and
resolved by the executor at those places only, right before they are used. What rendering puts
anywhere is data, whatever it looks like.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
#: A segment is never `.` or `..`, nor empty: a path cannot leave what its mount or name begins.
_SEGMENT: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_.@+=-]{0,126}[A-Za-z0-9_@+=-])?"
_FORMS: Final = {
    "env": re.compile(_NAME),
    "file": re.compile(_NAME),
    "vault": re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{1,15}}#{_NAME}"),
    "aws": re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,15}}(?:#{_NAME})?"),
}
_SOURCE: Final = re.compile(rf"({'|'.join(_FORMS)})[/:]")
_SOURCES: Final = ", ".join(f"{source}/" for source in _FORMS)
_WANTED: Final = {
    "env": "1 to 128 letters, digits and _ . - beginning with a letter, digit or _",
    "file": "1 to 128 letters, digits and _ . - beginning with a letter, digit or _",
    "vault": "<mount>/<path>#<field>",
    "aws": "<name> or <name>#<field>",
}
REMEDY: Final = (
    'write {"type": "secret", "path": "env/NAME"}, or "file/NAME", "vault/<mount>/<path>#<field>" '
    'or "aws/<name>#<field>"'
)


#: The pointers of one call; they stand in each of its commands.
MAX_POINTER_BYTES: Final = 64 * 1024

#: Where a value stands: the place of what holds it, and its name or number there.
_Place = tuple["_Place", str] | None


class TooManyPlaces(ValueError):
    """The pointers of all references have more than MAX_POINTER_BYTES."""


class SecretPath(NamedTuple):
    """Where a secret is: the back end (`env`, `file`, `vault`, `aws`) and the name in it."""

    source: str
    name: str

    def __str__(self) -> str:
        """The one spelling that rules, caches and audit events use: with a slash."""
        return f"{self.source}/{self.name}"


def is_meant(value: Any) -> bool:
    """Whether the value is an object of type `secret`, well-formed or not."""
    return type(value) is dict and value.get("type") == "secret"


def path_of(value: Any) -> SecretPath | None:
    """The path of a well-formed reference, else None."""
    if not is_meant(value) or value.keys() != {"type", "path"} or type(value["path"]) is not str:
        return None
    return parse(value["path"])


def parse(text: str) -> SecretPath | None:
    """The path that the text of a reference spells, else None."""
    found = _SOURCE.match(text)
    if found is None or not _FORMS[found[1]].fullmatch(text, found.end()):
        return None
    return SecretPath(found[1], text[found.end() :])


def pointers(parameters: dict[str, Any]) -> tuple[str, ...]:
    """The places of all well-formed references in parameters, as JSON pointers (RFC 6901).

    Raises `TooManyPlaces`. Takes a time and memory that grow with the parameters only, since a
    pointer is written only where a reference is: one long name may stand above all other values.
    """
    found: list[str] = []
    size = 0
    waiting: list[tuple[_Place, Any]] = [(None, parameters)]
    while waiting:
        place, value = waiting.pop()
        if path_of(value) is not None:
            found.append(_pointer(place))
            size += len(found[-1])
            if size > MAX_POINTER_BYTES:
                raise TooManyPlaces
        elif type(value) is dict:
            waiting.extend(((place, name), item) for name, item in value.items())
        elif type(value) is list:
            waiting.extend(((place, str(index)), item) for index, item in enumerate(value))
    return tuple(sorted(found))


def _pointer(place: _Place) -> str:
    parts: list[str] = []
    while place is not None:
        place, name = place
        parts.append(escape(name))
    return "".join(f"/{name}" for name in reversed(parts))


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
        found = _SOURCE.match(path)
        if found is not None:
            return f"is a secret reference whose name is not {_WANTED[found[1]]}; {REMEDY}"
        return f"is a secret reference whose path begins with none of {_SOURCES}; {REMEDY}"
    return None
