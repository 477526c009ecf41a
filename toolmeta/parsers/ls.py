"""`ls -l --quoting-style=c --time-style=+%s`: names quoted, so that any byte may be in them."""

from __future__ import annotations

import re
from typing import Any, Final

from toolmeta.parsers.quoted import unescaped

_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_ROW: Final = re.compile(
    r"(?P<mode>[a-zA-Z?-]{10})[.+@]?\s+(?P<links>\d+|\?)\s+(?P<owner>\S+)\s+(?P<group>\S+)\s+"
    rf"(?:(?P<size>\d+)|\d+,\s*\d+|\?)\s+(?P<time>-?\d+|\?)\s+{_QUOTED}(?:\s+->\s+{_QUOTED})?.*"
)
_TYPES: Final = {
    "-": "file", "d": "directory", "l": "link", "s": "socket", "p": "pipe",
    "b": "block_device", "c": "character_device",
}  # fmt: skip


def parse(stdout: str) -> dict[str, Any]:
    """The entries with their types, modes, owners, sizes and modification times (Unix seconds)."""
    entries: list[dict[str, Any]] = []
    folder: str | None = None
    for line in stdout.split("\n"):
        row = _ROW.fullmatch(line)
        if row is not None:
            entries.append(_entry(row, folder))
        elif line.startswith('"') and line.endswith('":'):
            folder = unescaped(line[1:-2])
        elif line and not line.startswith("total "):
            raise ValueError(f"unexpected line {line[:80]!r}")
    size = sum(entry["size_bytes"] or 0 for entry in entries if entry["type"] == "file")
    return {"entries": entries, "count": len(entries), "total_bytes": size}


def _entry(row: re.Match[str], folder: str | None) -> dict[str, Any]:
    # Groups 7 and 8 are the two quoted names: the entry, and the target of a link.
    link = None if row[8] is None else unescaped(row[8])
    entry = {
        "name": unescaped(row[7]),
        "type": _TYPES.get(row["mode"][0], "other"),
        "mode": row["mode"],
        "links": _number(row["links"]),
        "owner": row["owner"],
        "group": row["group"],
        "size_bytes": _number(row["size"]),
        "modified_at": _number(row["time"]),
    }
    if link is not None:
        entry["link_to"] = link
    if folder is not None:
        entry["directory"] = folder
    return entry


def _number(text: str | None) -> int | None:
    """None for a device, which has no size, and for a file whose facts may not be read."""
    return None if text in (None, "?") else int(text or 0)
