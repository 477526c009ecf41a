"""`ps -o pid,ppid,user,pcpu,pmem,rss,nlwp,stat,etimes,args` without headers."""

from __future__ import annotations

from typing import Any


def parse(stdout: str) -> dict[str, Any]:
    """The processes; memory in bytes, age in seconds."""
    processes = [_process(line) for line in stdout.split("\n") if line.strip()]
    return {
        "processes": processes,
        "count": len(processes),
        "is_running": bool(processes),
    }


def _process(line: str) -> dict[str, Any]:
    pid, ppid, user, cpu, memory, rss, threads, state, age, *command = line.split(None, 9)
    return {
        "pid": int(pid),
        "ppid": int(ppid),
        "user": user,
        "cpu_percent": float(cpu),
        "memory_percent": float(memory),
        "rss_bytes": int(rss) * 1024,
        "threads": int(threads),
        "state": state,
        "elapsed_seconds": int(age),
        "command": command[0].rstrip() if command else "",
    }
