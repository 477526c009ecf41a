"""logrotate: which logs it considered, from its messages, and which of them rotate.

It writes names as they are, and whoever may put a file where a pattern of the configuration finds
it chooses the name, with line breaks and whatever looks like a message. So the messages are read by
their grammar, and where a name has a line break nothing is told at all. That is always seen: after
`considering log NAME` comes one of a few lines, at once, or nothing where the folder of the log is
missing and may be. Where the name has several lines, the line before that one is the last of the
name, and no line of a name is a whole `considering log` with a path of its own: that has as many
slashes as the pattern, and the name has no more than those before its first line break left. (Only
patterns of several depths in one entry, and those that begin with `~`, leave somebody who may name
folders on the way a chance.)
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Any, Final

_HANDLING: Final = re.compile(r"^Handling (\d+) logs$", re.MULTILINE)
_PATTERN: Final = re.compile(
    r"\n\nrotating pattern: (.*?) (?:hourly|weekly|monthly|yearly|after \d+ days|"
    r"forced from command line|\d+ bytes)[ (]",
    re.DOTALL,
)
_PATTERN_LINE: Final = "rotating pattern: "
_CONSIDERED: Final = "considering log "
_NEW: Final = "Creating new state"
_ROTATES: Final = "  log needs rotating"
_STAYS: Final = "  log does not need rotating"
#: What the first line about a log begins with; a new state may stand before it.
_OPENING: Final = ("  Now: ", "  log /", "  log ~", 'error: skipping "', "error: stat of ")


@dataclass(slots=True)
class _Reader:
    """The messages so far."""

    logs: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    #: Slashes in the paths that the patterns in force find; None: any number.
    depths: frozenset[int] | None = frozenset()
    #: The line before named a log, so that this one is the first about it.
    expected: bool = False
    decided: bool = True

    def line(self, line: str) -> None:
        verdict = line == _ROTATES or line.startswith(_STAYS)
        if self.expected and line == _NEW:
            return
        if self.expected and (not line or line.startswith(_CONSIDERED)):
            self.end()
        if (self.expected or line.startswith(_OPENING)) and not (
            self.expected and (verdict or line.startswith(_OPENING))
        ):
            raise _line_break()
        self.expected = False
        if line.startswith(_CONSIDERED):
            self._consider(line.removeprefix(_CONSIDERED))
        elif verdict:
            if self.decided:
                raise _line_break()
            self.decided = True
            self.logs[-1]["rotates"] = line == _ROTATES
        if line.startswith("error:"):
            self.errors.append(line.removeprefix("error:").strip())

    def end(self) -> None:
        """No more is said of the last log: with `missingok`, its folder is not there."""
        self.expected, self.decided = False, True

    def _consider(self, path: str) -> None:
        if self.depths is not None and path.count("/") not in self.depths:
            raise _line_break()
        self.logs.append({"log": path, "rotates": False})
        self.expected, self.decided = True, False


def parse(text: str) -> dict[str, Any]:
    """The logs that logrotate considered, and which of them rotate.

    Raises ValueError where a name holds a line break.
    """
    reader = _Reader()
    found = _HANDLING.search(text)
    patterns = list(_PATTERN.finditer(text))
    if found is not None and len(patterns) > int(found[1]):
        raise _line_break()
    # What stands before the first pattern is of the configuration.
    position = patterns[0].start() if patterns else len(text)
    for line in text[:position].split("\n"):
        if line.startswith("error:"):
            reader.errors.append(line.removeprefix("error:").strip())
    for index, pattern in enumerate(patterns):
        reader.end()
        reader.depths = _depths(pattern[1])
        end = patterns[index + 1].start() if index + 1 < len(patterns) else len(text)
        for line in text[pattern.end() : end].split("\n")[1:]:
            reader.line(line)
    rotated = [item["log"] for item in reader.logs if item["rotates"]]
    return {
        "logs": reader.logs,
        "count": len(reader.logs),
        "rotated": rotated,
        "errors": reader.errors,
    }


def _depths(patterns: str) -> frozenset[int] | None:
    try:
        words = shlex.split(patterns)
    except ValueError:
        words = patterns.split()
    if any(word.startswith("~") for word in words):
        return None
    return frozenset(word.count("/") for word in words)


def _line_break() -> ValueError:
    return ValueError(
        "a log has a line break in its name, so that nothing it says of logs can be relied on"
    )
