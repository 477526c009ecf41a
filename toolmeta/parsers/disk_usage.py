"""`du --block-size=1`: bytes, a tab, the path; the last line is the requested path."""

from __future__ import annotations

from typing import Any


def parse(stdout: str) -> dict[str, Any]:
    """Sizes per directory and the total of the last path."""
    entries: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        size, tab, path = line.partition("\t")
        if tab and size.isdigit():
            entries.append({"path": path, "size_bytes": int(size)})
        elif entries:
            # The rest of a path with a newline in it.
            entries[-1]["path"] += "\n" + line
        else:
            raise ValueError(f"unexpected line {line[:80]!r}")
    total = entries[-1]["size_bytes"] if entries else 0
    return {"entries": entries, "count": len(entries), "total_bytes": total}
