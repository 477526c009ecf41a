"""Distinguish a process from a later one of the same pid."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def start_mark(pid: int) -> str | None:
    """When the process began, as an opaque text; None if it does not run."""
    if _BOOT_ID.exists():
        return _mark_from_proc(pid)
    return _mark_from_ps(pid)


def is_same(pid: int | None, mark: str | None) -> bool:
    """Whether the process of this number still is the one of this mark."""
    return pid is not None and mark is not None and start_mark(pid) == mark


def wait_ended(pid: int, mark: str, seconds: float) -> bool:
    """Wait until the process has ended; False if it still runs after that time."""
    deadline = time.monotonic() + seconds
    while is_same(pid, mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def kill_if_same(pid: int, mark: str, with_group: bool = True) -> bool:
    """Kill the process of this mark and its group, if it still runs; returns whether it did."""
    if not is_same(pid, mark):
        return False
    try:
        if with_group and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _mark_from_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold spaces and parentheses: count the fields after its last one.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return f"{_BOOT_ID.read_text().strip()}:{fields[19]}"


def _mark_from_ps(pid: int) -> str | None:
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    state, _, started = answer.stdout.strip().partition(" ")
    if not state or state.startswith("Z"):
        return None
    return started.strip()
