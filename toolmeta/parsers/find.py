r"""`find -printf '%y\t%s\t%T@\t%m\t%u\t%g\t%p\0'`: only NUL can stand in no name."""

from __future__ import annotations

import re
from typing import Any, Final

_ROW: Final = re.compile(
    r"(?P<type>\S)\t(?P<size>\d+)\t(?P<time>-?[\d.]+)\t(?P<mode>\d+)\t"
    r"(?P<owner>[^\t]*)\t(?P<group>[^\t]*)\t(?P<path>.*)",
    re.DOTALL,
)
_TYPES: Final = {
    "f": "file", "d": "directory", "l": "link", "s": "socket", "p": "pipe",
    "b": "block_device", "c": "character_device",
}  # fmt: skip


def parse(stdout: str) -> dict[str, Any]:
    """What was found, with sizes in bytes and modification times in Unix seconds."""
    matches = [_match(row) for row in stdout.split("\0")[:-1]]
    size = sum(match["size_bytes"] for match in matches)
    return {"matches": matches, "count": len(matches), "total_bytes": size}


def _match(text: str) -> dict[str, Any]:
    row = _ROW.fullmatch(text)
    if row is None:
        raise ValueError(f"unexpected row {text[:80]!r}")
    return {
        "path": row["path"],
        "type": _TYPES.get(row["type"], "other"),
        "size_bytes": int(row["size"]),
        "modified_at": int(float(row["time"])),
        "mode": row["mode"],
        "owner": row["owner"],
        "group": row["group"],
    }
