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
#: The head of the table of the second generation.
_SECOND_HEAD: Final = re.compile(r"NAME\s.*\sSTATUS(\s|$)")


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
    """What Compose wrote, line by line; what `ps` lists as containers, in three formats."""
    lines = stdout.rstrip("\n").split("\n") if stdout.strip() else []
    rows = _composed(stdout)
    if rows is None and lines and _SECOND_HEAD.match(lines[0]):
        rows = _columns(lines)
    if rows is not None:
        return {"lines": lines, "containers": rows, "count": len(rows)}
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


def _composed(stdout: str) -> list[dict[str, Any]] | None:
    """`ps --format=json` of the second generation: a list, or since 2.21 an object in each line."""
    text = stdout.strip()
    if not text.startswith(("{", "[{", "[]")):
        return None
    try:
        found = orjson.loads(text) if text[0] == "[" else jsonl(text)["rows"]
    except ValueError:
        return None
    if not all(isinstance(row, dict) and {"Name", "State"} <= row.keys() for row in found):
        return None
    return [
        {
            "name": row["Name"],
            "command": str(row.get("Command", "")).strip('"'),
            "state": row.get("Status") or row["State"],
            "ports": ", ".join(_port(port) for port in row.get("Publishers") or ()),
            "service": row.get("Service", ""),
            "image": row.get("Image", ""),
        }
        for row in found
    ]


def _port(port: dict[str, Any]) -> str:
    inside = f"{port.get('TargetPort')}/{port.get('Protocol')}"
    if not port.get("PublishedPort"):
        return inside
    return f"{port.get('URL')}:{port['PublishedPort']}->{inside}"


def _columns(lines: list[str]) -> list[dict[str, Any]]:
    """The table of the second generation: each column begins below its title."""
    titles = [(found[0].lower(), found.start()) for found in re.finditer(r"\S+", lines[0])]
    ends = [start for _, start in titles[1:]] + [None]
    rows = [
        {title: line[start:end].strip() for (title, start), end in zip(titles, ends, strict=True)}
        for line in lines[1:]
    ]
    return [
        {
            "name": row["name"],
            "command": row.get("command", "").strip('"'),
            "state": row["status"],
            "ports": row.get("ports", ""),
            "service": row.get("service", ""),
            "image": row.get("image", ""),
        }
        for row in rows
    ]


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
