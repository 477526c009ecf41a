"""What a program could not read, from its own messages, while it went on with the rest. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from toolmeta.invocation import Unread
from toolmeta.parsers.quoted import of_shell, unescaped

#: Of what could not be read, so many are named; all are counted.
MOST_NAMED: Final = 100
#: Classes of an error about what the caller named, by the reason that the system gives.
_CLASSES: Final = {
    "No such file or directory": "not_found",
    "Not a directory": "not_found",
    "Permission denied": "capability_missing",
    "Operation not permitted": "capability_missing",
    "Is a directory": "invalid_parameters",
}
_MESSAGE: Final = re.compile(r"(?P<name>.*): (?P<reason>[A-Z][^:\n]*)", re.DOTALL)
#: `find` and the coreutils: a few words at most, then the name in quotes.
_CURLY: Final = re.compile(r"(?:[a-z][a-z_ ]{0,60} )?\u2018(?P<text>.*)\u2019", re.DOTALL)
_SHELL: Final = re.compile(r"(?:[a-z][a-z_ ]{0,60} )?(?P<text>['\"].*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One message; without a path where it names none."""

    path: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a program said of what it could not read."""

    entries: tuple[Entry, ...] = ()
    #: The first error about something that the caller named itself.
    named: Entry | None = None
    #: It ended as one does that read everything.
    complete: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """For the output of the step."""
        return {
            "complete": self.complete,
            "error_count": len(self.entries),
            "errors": [
                {"path": entry.path, "reason": entry.reason} for entry in self.entries[:MOST_NAMED]
            ],
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that could not be read."""
        return tuple(entry.path for entry in self.entries if entry.path is not None)


def class_of(entry: Entry) -> str:
    """The class of an error about something that the caller named."""
    return _CLASSES.get(entry.reason, "exit_status")


def read(rule: Unread, program: str, errors: str) -> Reading:
    """The messages of `program`; what is no message of an unreadable entry has no path."""
    # It names itself as it was started, by its name or by its path. Between two such beginnings
    # may be a name with a line break.
    begin = rf"(?:/[^\n:]*/)?{re.escape(program)}: "
    messages = [piece.strip("\n") for piece in re.split(rf"^{begin}", errors, flags=re.M)[1:]]
    entries = tuple(
        _entry(message, plain=rule.plain)
        for message in messages
        if not message.startswith("warning: ")
    )
    wanted = {_trimmed(name) for name in rule.named}
    named = next((item for item in entries if item.path and _trimmed(item.path) in wanted), None)
    return Reading(entries, named)


def _entry(message: str, *, plain: bool) -> Entry:
    found = _MESSAGE.fullmatch(message)
    if found is None:
        return Entry(None, message)
    name = found["name"] if plain else _name(found["name"])
    return Entry(name, found["reason"])


def _name(text: str) -> str:
    curly = _CURLY.fullmatch(text)
    if curly is not None:
        return unescaped(curly["text"])
    quoted = _SHELL.fullmatch(text)
    word = None if quoted is None else of_shell(quoted["text"])
    return text if word is None else word


def _trimmed(path: str) -> str:
    """Without slashes at the end, which programs add and leave out."""
    return path.rstrip("/") or path[:1]
