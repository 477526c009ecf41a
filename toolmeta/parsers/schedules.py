"""Scheduled jobs: `at`, `crontab -l`, timers of systemd."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from toolmeta.parsers import systemctl

_QUEUED: Final = re.compile(r"^job (\d+) at (.+)$", re.MULTILINE)
_LISTED: Final = re.compile(r"^(\d+)\t(.+?) ([A-Za-z=]) (\S+)$")
_AT_TIME: Final = "%a %b %d %H:%M:%S %Y"
#: Five fields of a time or one word such as @daily, then the command.
_JOB: Final = re.compile(r"^(@\w+|(?:\S+\s+){4}\S+)\s+(.+)$")
_VARIABLE: Final = re.compile(r"^\s*\"?([A-Za-z_][A-Za-z0-9_]*)\"?\s*=\s*(.*)$")


def at(stdout: str) -> dict[str, Any]:
    """The job that was queued, the queue, or the script of a job."""
    queued = _QUEUED.search(stdout)
    if queued is not None:
        return {
            "job": int(queued[1]),
            "at": _moment(queued[2]),
            "daemon_running": "No atd running" not in stdout,
        }
    lines = [line for line in stdout.split("\n") if line.strip()]
    jobs = [found for line in lines if (found := _LISTED.match(line))]
    if lines and not jobs:
        return {"text": stdout}
    return {
        "jobs": [
            {"job": int(found[1]), "at": _moment(found[2]), "queue": found[3], "user": found[4]}
            for found in jobs
        ],
        "count": len(jobs),
    }


def _moment(text: str) -> str:
    # The definition runs at in UTC.
    return datetime.strptime(text.strip(), _AT_TIME).replace(tzinfo=UTC).isoformat()


def crontab(stdout: str) -> dict[str, Any]:
    """The jobs in their order and the variables; comments are only in the text."""
    jobs: list[dict[str, str]] = []
    variables: dict[str, str] = {}
    for line in stdout.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        variable = _VARIABLE.match(line)
        job = _JOB.match(line.strip())
        if variable is not None:
            variables[variable[1]] = variable[2].strip().strip("\"'")
        elif job is not None:
            jobs.append({"schedule": " ".join(job[1].split()), "command": job[2]})
        else:
            raise ValueError(f"unexpected line {line[:80]!r}")
    return {"jobs": jobs, "count": len(jobs), "variables": variables, "text": stdout}


def timers(stdout: str) -> dict[str, Any]:
    """`list-timers` and `list-unit-files` as one shape, or the properties of one timer."""
    if not stdout.lstrip().startswith("["):
        return systemctl.parse(stdout)
    found = [_timer(item) for item in orjson.loads(stdout)]
    return {"timers": found, "count": len(found)}


def _timer(item: dict[str, Any]) -> dict[str, Any]:
    if "unit_file" in item:
        name, rest = item["unit_file"], {key: item.get(key) for key in ("state", "preset")}
        return {"timer": name, **rest}
    return {
        "timer": item["unit"],
        "activates": item.get("activates"),
        "next_at": _microseconds(item.get("next")),
        "last_at": _microseconds(item.get("last")),
    }


def _microseconds(value: Any) -> str | None:
    return datetime.fromtimestamp(value / 1e6, UTC).isoformat() if value else None
