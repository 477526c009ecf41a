"""Output of the Azure command line, as fields for later steps."""

from __future__ import annotations

from typing import Any

import orjson


def machines(stdout: str) -> dict[str, Any]:
    """`az vm list` and `show` with details; the other verbs have no output."""
    found = orjson.loads(stdout) if stdout.strip() else []
    rows = found if isinstance(found, list) else [found]
    running = sum(row.get("power_state") == "VM running" for row in rows)
    return {"machines": rows, "count": len(rows), "running": running}


def storage(stdout: str) -> dict[str, Any]:
    """`az storage`: containers or blobs of a list; any other document under `result`."""
    found = orjson.loads(stdout) if stdout.strip() else {}
    if not isinstance(found, list):
        one = found if isinstance(found, dict) else {"value": found}
        return {"items": [], "count": 0, "result": one}
    items = [_stored(item) for item in found]
    total = sum(item.get("size_bytes") or 0 for item in items)
    return {"items": items, "count": len(items), "total_bytes": total}


def _stored(item: dict[str, Any]) -> dict[str, Any]:
    properties = item.get("properties") or {}
    stored = {"name": item["name"], "modified_at": properties.get("lastModified")}
    if "contentLength" in properties:
        stored |= {
            "size_bytes": properties["contentLength"],
            "tier": properties.get("blobTier"),
        }
    return stored
