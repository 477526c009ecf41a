"""`free --bytes`: memory and swap."""

from __future__ import annotations

from typing import Any


def parse(stdout: str) -> dict[str, Any]:
    """Bytes of memory and swap, and the share in use (what is not available)."""
    header, *rows = [line for line in stdout.split("\n") if line.strip()]
    columns = [name.replace("/", "_") for name in header.split()]
    table = {row.split()[0].rstrip(":").lower(): row.split()[1:] for row in rows}
    memory = dict(zip(columns, (int(item) for item in table["mem"]), strict=False))
    swap = dict(zip(columns, (int(item) for item in table["swap"]), strict=False))
    busy = memory["total"] - memory["available"]
    percent = round(100 * busy / memory["total"], 1) if memory["total"] else 0.0
    return {"memory": memory, "swap": swap, "used_percent": percent}
