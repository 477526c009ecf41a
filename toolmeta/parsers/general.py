"""General parsers: text, lines, JSON, JSON lines and `KEY=value` lines."""

from __future__ import annotations

from typing import Any

import orjson


def text(stdout: str) -> dict[str, Any]:
    """The text as it is."""
    return {"text": stdout}


def lines(stdout: str) -> dict[str, Any]:
    """The lines without their ends, and how many."""
    found = stdout.split("\n")
    if found[-1] == "":
        found.pop()
    return {"lines": [line.removesuffix("\r") for line in found], "count": len(found)}


def json(stdout: str) -> dict[str, Any]:
    """One JSON document, under `data`; nothing at all is null."""
    return {"data": orjson.loads(stdout) if stdout.strip() else None}


def report(stdout: str) -> dict[str, Any]:
    """The fields of one JSON object; of a program that failed before it did anything, none."""
    fields: dict[str, Any] = orjson.loads(stdout) if stdout.strip() else {}
    return fields


def jsonl(stdout: str) -> dict[str, Any]:
    """One JSON document per line."""
    rows = [orjson.loads(line) for line in stdout.split("\n") if line.strip()]
    return {"rows": rows, "count": len(rows)}


def key_value(stdout: str) -> dict[str, Any]:
    """`KEY=value` lines; the last of a repeated key stays."""
    pairs = (line.partition("=") for line in stdout.split("\n") if "=" in line)
    return {"values": {key.strip(): value.strip() for key, _, value in pairs}}
