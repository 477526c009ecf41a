"""Processes: `pgrep --list-full`, `pkill --echo`, `killall --verbose`, `renice`, `top -b`."""

from __future__ import annotations

import re
from typing import Any, Final

_KILLED: Final = re.compile(
    r"^(?:Killed (?P<name>.+)\((?P<pid>\d+)\) with signal \d+"
    r"|(?P<name2>.+) killed \(pid (?P<pid2>\d+)\))$"
)
_RENICED: Final = re.compile(
    r"^(?P<pid>\d+) \(process ID\) old priority (?P<old>-?\d+), new priority (?P<new>-?\d+)$"
)
_LOAD: Final = re.compile(r"load average: ([\d.]+), ([\d.]+), ([\d.]+)")
_UP: Final = re.compile(r"up\s+(?:(\d+) days?,\s+)?(?:(\d+):(\d+)|(\d+) min)")
#: Bounded: it is tried at each place of a hostile output.
_PAIR: Final = re.compile(r"([\d.]{1,20}) ([a-z/]{1,20})")
_CPU: Final = {
    "us": "cpu_user_percent", "sy": "cpu_system_percent",
    "id": "cpu_idle_percent", "wa": "cpu_wait_percent",
}  # fmt: skip
_UNITS: Final = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2, "p": 1024.0**3}


def pgrep(stdout: str) -> dict[str, Any]:
    """The processes by id, with their command lines."""
    found: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        pid, _, command = line.partition(" ")
        if pid.isdigit():
            found.append({"pid": int(pid), "command": command})
        elif line and found:
            # The rest of a command line with a newline in it.
            found[-1]["command"] += "\n" + line
    return {
        "processes": found,
        "count": len(found),
        "pids": [item["pid"] for item in found],
        "found": bool(found),
    }


def killed(stdout: str) -> dict[str, Any]:
    """The processes that got the signal."""
    matches = [found for line in stdout.split("\n") if (found := _KILLED.match(line))]
    processes = [
        {"pid": int(found["pid"] or found["pid2"]), "name": found["name"] or found["name2"]}
        for found in matches
    ]
    return {"processes": processes, "count": len(processes)}


def renice(stdout: str) -> dict[str, Any]:
    """The old and the new niceness of each process."""
    matches = [found for line in stdout.split("\n") if (found := _RENICED.match(line))]
    processes = [
        {
            "pid": int(found["pid"]),
            "niceness_before": int(found["old"]),
            "niceness": int(found["new"]),
        }
        for found in matches
    ]
    return {"processes": processes, "count": len(processes)}


def top(stdout: str) -> dict[str, Any]:
    """The last sample: load, CPU and memory of the machine, then its processes in top's order."""
    begin = stdout.rfind("\ntop - ") + 1
    head, _, table = stdout[begin:].partition("\n\n")
    output: dict[str, Any] = {"uptime_seconds": None}
    for line in head.split("\n"):
        output.update(_headline(line))
    lines = [line for line in table.split("\n") if line.strip()]
    columns = lines[0].split() if lines else []
    output["processes"] = [_process(columns, line) for line in lines[1:]]
    output["count"] = len(output["processes"])
    return output


def _headline(line: str) -> dict[str, Any]:
    if line.startswith("top - "):
        return _first(line)
    label, _, rest = line.partition(":")
    pairs = {name: float(value) for value, name in _PAIR.findall(rest)}
    if label in ("Tasks", "Threads"):
        return {"tasks_total": int(pairs.get("total", 0))}
    if label.startswith("%Cpu"):
        return {_CPU[name]: value for name, value in pairs.items() if name in _CPU}
    if label.startswith("MiB Mem"):
        names = ("total", "free", "used")
        return {f"memory_{name}_mib": pairs[name] for name in names if name in pairs}
    if label.startswith("MiB Swap"):
        return {"swap_used_mib": pairs.get("used", 0.0)}
    return {}


def _first(line: str) -> dict[str, Any]:
    output: dict[str, Any] = {}
    load = _LOAD.search(line)
    if load is not None:
        output = {
            f"load_{minutes}m": float(value)
            for minutes, value in zip((1, 5, 15), load.groups(), strict=True)
        }
    up = _UP.search(line)
    if up is not None:
        days, hours, minutes, only = (int(item or 0) for item in up.groups())
        output["uptime_seconds"] = days * 86_400 + hours * 3_600 + (minutes + only) * 60
    return output


def _process(columns: list[str], line: str) -> dict[str, Any]:
    fields = dict(zip(columns, line.split(None, len(columns) - 1), strict=False))
    return {
        "pid": int(fields["PID"]),
        "user": fields["USER"],
        "state": fields.get("S", ""),
        "cpu_percent": float(fields["%CPU"]),
        "memory_percent": float(fields["%MEM"]),
        "rss_mib": _mib(fields.get("RES", "0")),
        "command": fields["COMMAND"].rstrip(),
    }


def _mib(text: str) -> float:
    unit = text[-1].lower()
    number = float(text[:-1]) * _UNITS[unit] if unit in _UNITS else float(text) / 1024
    return round(number, 3)
