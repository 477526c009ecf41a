r"""`find -printf '%y\t%s\t%T@\t%m\t%u\t%g\t%p\n'`."""

from __future__ import annotations

import re
from typing import Any, Final

_ROW: Final = re.compile(
    r"(?P<type>\S)\t(?P<size>\d+)\t(?P<time>-?[\d.]+)\t(?P<mode>\d+)\t"
    r"(?P<owner>[^\t]*)\t(?P<group>[^\t]*)\t(?P<path>.*)"
)
_TYPES: Final = {
    "f": "file", "d": "directory", "l": "link", "s": "socket", "p": "pipe",
    "b": "block_device", "c": "character_device",
}  # fmt: skip


def parse(stdout: str) -> dict[str, Any]:
    """What was found, with sizes in bytes and modification times in Unix seconds."""
    matches: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        row = _ROW.fullmatch(line)
        if row is not None:
            matches.append(
                {
                    "path": row["path"],
                    "type": _TYPES.get(row["type"], "other"),
                    "size_bytes": int(row["size"]),
                    "modified_at": int(float(row["time"])),
                    "mode": row["mode"],
                    "owner": row["owner"],
                    "group": row["group"],
                }
            )
        elif line and matches:
            # The rest of a path with a newline in it.
            matches[-1]["path"] += "\n" + line
        elif line:
            raise ValueError(f"unexpected line {line[:80]!r}")
    size = sum(match["size_bytes"] for match in matches)
    return {"matches": matches, "count": len(matches), "total_bytes": size}
