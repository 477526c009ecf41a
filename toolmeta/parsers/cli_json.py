"""Programs whose output is JSON if an option requests it, and text otherwise."""

from __future__ import annotations

from typing import Any

import orjson


def parse(stdout: str) -> dict[str, Any]:
    """`data` of one JSON object, `items` of a list or of JSON lines, else `lines`."""
    text = stdout.strip()
    if text[:1] in ("{", "["):
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            rows = _rows(text)
            if rows is not None:
                return {"items": rows, "count": len(rows)}
        else:
            return {"items": found, "count": len(found)} if type(found) is list else {"data": found}
    lines = text.split("\n") if text else []
    return {"lines": lines, "count": len(lines)}


def parse_rows(stdout: str) -> dict[str, Any]:
    """As `parse`, but an object that fills one line is a list of one."""
    text = stdout.strip()
    rows = _rows(text) if text.startswith("{") else None
    return parse(stdout) if rows is None else {"items": rows, "count": len(rows)}


def _rows(text: str) -> list[Any] | None:
    try:
        return [orjson.loads(line) for line in text.split("\n") if line.strip()]
    except orjson.JSONDecodeError:
        return None
