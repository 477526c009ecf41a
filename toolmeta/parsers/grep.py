"""`grep --null -H -n`: file, NUL, line number, `:` or `-` for a line around a match, text.

A file name may hold line breaks and no NUL; a text may hold NUL and no line break. So the first NUL
ends the name, and the first line break after it the text.
"""

from __future__ import annotations

import re
from typing import Any, Final

_LINE: Final = re.compile(r"(?P<line>\d+)(?P<sign>[:-])(?P<text>.*)", re.DOTALL)
#: Between two rows, of grep before 3.5: a line that matches is not given. Newer ones say it in
#: stderr.
_LEFT_OUT: Final = re.compile(r"Binary file [^\0]*? matches\n")


def parse(stdout: str) -> dict[str, Any]:
    """The matches and the files that they are in; none is a result too.

    Lines around the matches, where they were asked for, stand in `context`.
    """
    matches: list[dict[str, Any]] = []
    context: list[dict[str, Any]] = []
    complete = True
    place = 0
    while place < len(stdout):
        said = _LEFT_OUT.match(stdout, place)
        if said is not None:
            complete = False
            place = said.end()
            continue
        nul = stdout.find("\0", place)
        end = stdout.find("\n", nul)
        if nul < 0 or end < 0:
            # The last row may be cut off; text without any row is no output of grep.
            if not (matches or context):
                raise ValueError(f"unexpected text {stdout[place:][:80]!r}")
            break
        found = _LINE.fullmatch(stdout, nul + 1, end)
        if found is None:
            raise ValueError(f"unexpected line {stdout[nul + 1 : end][:80]!r}")
        row = {"file": stdout[place:nul], "line": int(found["line"]), "text": found["text"]}
        (matches if found["sign"] == ":" else context).append(row)
        place = end + 1
    files = list(dict.fromkeys(str(match["file"]) for match in matches))
    output = {"matches": matches, "count": len(matches), "files": files, "found": bool(files)}
    if context:
        output["context"] = context
    return output if complete else {**output, "complete": False}
