"""`du --null --block-size=1`: bytes, a tab, the path, NUL; the last row is the requested path."""

from __future__ import annotations

from typing import Any


def parse(stdout: str) -> dict[str, Any]:
    """Sizes per directory and the total of the last path."""
    entries = [_entry(row) for row in stdout.split("\0")[:-1]]
    total = entries[-1]["size_bytes"] if entries else 0
    return {"entries": entries, "count": len(entries), "total_bytes": total}


def _entry(row: str) -> dict[str, Any]:
    size, tab, path = row.partition("\t")
    if not tab or not size.isdigit():
        raise ValueError(f"unexpected row {row[:80]!r}")
    return {"path": path, "size_bytes": int(size)}
