"""Docker, Podman and Compose: lists, inspections and measurements of containers."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from toolmeta.parsers.general import jsonl

_SIZE: Final = re.compile(r"([0-9.]+)\s*([kKMGTPE]?)(i?)B")
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
#: A row of `docker-compose ps`: a long command is cut with an ellipsis, padded with spaces.
_SERVICE: Final = re.compile(
    r"(\S++)\s{2,}(.*?)(?<=\S)\s{2,}+(Up(?: \([^)]*\))?|Exit -?\d+|Paused|Restarting|Created|Ghost)"
    r"(?:\s{2,}(.*))?"
)


def docker_ps(stdout: str) -> dict[str, Any]:
    """`docker ps` with one JSON object per line."""
    return _listed(
        {
            "id": row["ID"],
            "name": row["Names"],
            "image": row["Image"],
            "state": row["State"],
            "status": row["Status"],
            "command": row["Command"].strip('"'),
            "ports": row["Ports"],
            "labels": _labels(row["Labels"]),
        }
        for row in jsonl(stdout)["rows"]
    )


def podman_ps(stdout: str) -> dict[str, Any]:
    """`podman ps --format=json`: one list."""
    return _listed(
        {
            "id": row["Id"],
            "name": row["Names"][0] if row["Names"] else "",
            "image": row["Image"],
            "state": row["State"],
            "status": row.get("Status", ""),
            "command": " ".join(row["Command"] or ()),
            "exit_code": row["ExitCode"] if row.get("Exited") else None,
            "labels": row["Labels"] or {},
        }
        for row in orjson.loads(stdout or "[]")
    )


def docker_inspect(stdout: str) -> dict[str, Any]:
    """One JSON object per line; for a single container its state is at the top level too."""
    items = jsonl(stdout)["rows"]
    for item in items:
        if "state" in item:
            item["name"] = item["name"].removeprefix("/")
    found: dict[str, Any] = {"items": items, "count": len(items)}
    if len(items) == 1 and "state" in items[0]:
        item = items[0]
        state = item["state"]
        networks = (item["networks"] or {}).values()
        found |= {
            "id": item["id"],
            "name": item["name"],
            "status": state["Status"],
            "running": state["Running"],
            "health": (state.get("Health") or {}).get("Status") or None,
            "container_exit_code": state.get("ExitCode"),
            "restart_count": item["restart_count"],
            "ip_addresses": [n["IPAddress"] for n in networks if n.get("IPAddress")],
        }
    return found


def docker_stats(stdout: str) -> dict[str, Any]:
    """`docker stats` with one JSON object per line, sizes in bytes."""
    rows = [_measured(row) for row in jsonl(stdout)["rows"]]
    return {"containers": rows, "count": len(rows)}


def compose(stdout: str) -> dict[str, Any]:
    """What docker-compose wrote, line by line; the table of `ps` as containers."""
    lines = stdout.rstrip("\n").split("\n") if stdout.strip() else []
    if len(lines) < 2 or not re.fullmatch(r"-{10,}", lines[1].strip()):
        return {"lines": lines, "count": len(lines)}
    names = ("name", "command", "state", "ports")
    found = (_SERVICE.fullmatch(line.strip()) for line in lines[2:])
    rows = [
        dict(zip(names, (part or "" for part in match.groups()), strict=True))
        for match in found
        if match
    ]
    return {"lines": lines, "containers": rows, "count": len(rows)}


def _listed(rows: Any) -> dict[str, Any]:
    containers = list(rows)
    running = sum(row["state"] == "running" for row in containers)
    return {"containers": containers, "count": len(containers), "running": running}


def _labels(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {key: value for key, _, value in pairs}


def _measured(row: dict[str, str]) -> dict[str, Any]:
    used, limit = _pair(row["MemUsage"])
    received, sent = _pair(row["NetIO"])
    read, written = _pair(row["BlockIO"])
    return {
        "id": row["ID"],
        "name": row["Name"],
        "cpu_percent": _percent(row["CPUPerc"]),
        "memory_percent": _percent(row["MemPerc"]),
        "memory_bytes": used,
        "memory_limit_bytes": limit,
        "received_bytes": received,
        "sent_bytes": sent,
        "read_bytes": read,
        "written_bytes": written,
        "processes": int(row["PIDs"]) if row["PIDs"].isdigit() else None,
    }


def _percent(text: str) -> float | None:
    number = text.rstrip("%")
    return float(number) if re.fullmatch(r"[0-9.]+", number) else None


def _pair(text: str) -> tuple[int | None, int | None]:
    first, _, second = text.partition("/")
    return _bytes(first), _bytes(second)


def _bytes(text: str) -> int | None:
    """`1.5MiB` or `12kB` as bytes; None where nothing was measured (`--`)."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    number, power, binary = match.groups()
    unit = (1024 if binary else 1000) ** _POWERS[power.upper()]
    return round(float(number) * int(unit))
