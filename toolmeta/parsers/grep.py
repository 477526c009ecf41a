"""`grep --null -H -n`: file, NUL, line number, `:` or `-` for a line around a match, text."""

from __future__ import annotations

import re
from typing import Any, Final

_LINE: Final = re.compile(r"(?P<line>\d+)(?P<sign>[:-])(?P<text>.*)")


def parse(stdout: str) -> dict[str, Any]:
    """The matches and the files that they are in; none is a result too.

    Lines around the matches, where they were asked for, stand in `context`.
    """
    matches: list[dict[str, Any]] = []
    context: list[dict[str, Any]] = []
    file, *rest = stdout.split("\0")
    for piece in rest:
        # The text ends with its line; what follows is the next file, with line breaks of its own.
        line, _, following = piece.partition("\n")
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"unexpected line {line[:80]!r}")
        row = {"file": file, "line": int(found["line"]), "text": found["text"]}
        (matches if found["sign"] == ":" else context).append(row)
        file = following
    files = list(dict.fromkeys(str(match["file"]) for match in matches))
    found_any = bool(matches)
    output = {"matches": matches, "count": len(matches), "files": files, "found": found_any}
    return output | ({"context": context} if context else {})
