"""`grep -H -n`: file, line number, text."""

from __future__ import annotations

import re
from typing import Any, Final

_MATCH: Final = re.compile(r"(?P<file>.*?):(?P<line>\d+):(?P<text>.*)")


def parse(stdout: str) -> dict[str, Any]:
    """The matches and the files that they are in; none is a result too."""
    matches = [
        {"file": found["file"], "line": int(found["line"]), "text": found["text"]}
        for found in map(_MATCH.fullmatch, stdout.split("\n"))
        if found is not None
    ]
    files = list(dict.fromkeys(str(match["file"]) for match in matches))
    return {"matches": matches, "count": len(matches), "files": files, "found": bool(matches)}
