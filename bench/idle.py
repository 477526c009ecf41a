"""`python -m bench.idle`: what a local stack costs while nobody uses it.

Starts the stack of `runstream up` in a folder of its own, waits until it is idle, and prints one
JSON object: per process and in total the share of one core (percent) and the resident memory
(megabytes) over the time measured. Postgres counts with its workers; memory that several of them
map is counted once per process by the kernel, so the proportional set size is given beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from devstack.stack import LocalStack

#: Variables that would point the stack to servers of the machine's own.
_SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "RUNSTREAM_KAFKA_OPTIONS", "DATABASE_URL")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process and its descendants used."""

    cpu_percent: float
    rss_megabytes: float
    pss_megabytes: float
    switches_per_second: float


@dataclass(frozen=True, slots=True)
class _Reading:
    cpu_seconds: float
    switches: int


def main() -> int:
    """Start, wait, measure, print; 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="bench.idle", description=__doc__)
    parser.add_argument("--settle", type=float, default=20.0, help="seconds before measuring")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds measured")
    parser.add_argument("--hold", action="store_true", help="print pids, then wait for Enter")
    wanted = parser.parse_args()
    for name in _SERVERS:
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="runstream-idle-") as folder:
        began = time.monotonic()
        stack = LocalStack(Path(folder) / "stack")
        try:
            with stack:
                ready = time.monotonic() - began
                time.sleep(wanted.settle)
                costs = measure(_pids(stack), wanted.seconds)
                if wanted.hold:
                    sys.stderr.write(f"{_pids(stack)}\n{stack.database_url}\n")
                    sys.stdin.readline()
        finally:
            stack.remove()
    figures = {
        "ready_after_seconds": round(ready, 1),
        "seconds_measured": wanted.seconds,
        "total": asdict(_sum(list(costs.values()))),
        "processes": {name: asdict(cost) for name, cost in costs.items()},
    }
    print(json.dumps(figures, indent=2))
    return 0


def measure(pids: dict[str, int], seconds: float) -> dict[str, Cost]:
    """The cost of each of these processes over that time."""
    before = {name: _read(pid) for name, pid in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    costs = {}
    for name, pid in pids.items():
        after = _read(pid)
        memory = [process.memory_full_info() for process in _family(pid)]
        costs[name] = Cost(
            round((after.cpu_seconds - before[name].cpu_seconds) / passed * 100, 2),
            round(sum(part.rss for part in memory) / 2**20, 1),
            round(sum(part.pss for part in memory) / 2**20, 1),
            round((after.switches - before[name].switches) / passed, 1),
        )
    return costs


def _pids(stack: LocalStack) -> dict[str, int]:
    status = stack.status()
    if status is None:
        return {}
    found = {process.name: process.pid for process in status.processes if process.pid is not None}
    return {"supervisor": status.supervisor_pid, **found}


def _family(pid: int) -> list[psutil.Process]:
    """A process and its descendants, except those that the stack lists by name."""
    process = psutil.Process(pid)
    if process.cmdline()[-2:-1] and "devstack.supervisor" in process.cmdline():
        return [process]
    return [process, *process.children(recursive=True)]


def _read(pid: int) -> _Reading:
    cpu, switches = 0.0, 0
    for process in _family(pid):
        times = process.cpu_times()
        cpu += times.user + times.system
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            switches += _switches(thread)
    return _Reading(cpu, switches)


def _switches(thread: Path) -> int:
    try:
        lines = (thread / "status").read_text("ascii", "replace").splitlines()
    except FileNotFoundError:
        return 0
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def _sum(costs: list[Cost]) -> Cost:
    return Cost(
        round(sum(cost.cpu_percent for cost in costs), 2),
        round(sum(cost.rss_megabytes for cost in costs), 1),
        round(sum(cost.pss_megabytes for cost in costs), 1),
        round(sum(cost.switches_per_second for cost in costs), 1),
    )


if __name__ == "__main__":
    sys.exit(main())
