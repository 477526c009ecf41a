"""What the processes of an attempt use, measured from its supervisor. Standard library only.

Sources: proc(5), /proc/pid/status and /proc/pid/task/tid/children (CONFIG_PROC_CHILDREN).
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Threads count as processes, as they do for the kernel."""

    processes: int
    memory_bytes: int


def measure(ancestor: int, most: int) -> Usage:
    """What the descendants of a process use; stops to count at `most` threads.

    Memory is what each has in RAM and shares with no file; pages that two processes share since a
    fork count twice. Of memory that is shared on purpose that of one process counts, the largest.
    """
    threads = memory = shared = 0
    queue = _children(ancestor)[0]
    while queue and threads < most:
        pid = queue.pop()
        children, count = _children(pid)
        threads += count
        private, common = _resident_bytes(pid)
        memory += private
        shared = max(shared, common)
        queue += children
    return Usage(threads, memory + shared)


def _children(pid: int) -> tuple[list[int], int]:
    """The children of all threads, and how many threads there are."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return found, 0
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:  # noqa: PTH123
                found += map(int, file.read().split())
        except OSError:
            continue
    return found, len(tasks)


def _resident_bytes(pid: int) -> tuple[int, int]:
    """What a process has in RAM: of its own, and shared with others but with no file on a disk."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
            status = file.read()
    except OSError:
        return 0, 0
    return _kibibytes(status, b"\nRssAnon:") * 1024, _kibibytes(status, b"\nRssShmem:") * 1024


def _kibibytes(status: bytes, field: bytes) -> int:
    """The number of a field; 0 where a process that is ending has none."""
    words = status.partition(field)[2].split(maxsplit=1)
    return int(words[0]) if words else 0
