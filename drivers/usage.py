"""What the processes of an attempt use, measured from its supervisor. Standard library only.

Sources: proc(5), /proc/pid/statm and /proc/pid/task/tid/children (CONFIG_PROC_CHILDREN).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Of a block in `st_blocks`.
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Usage:
    """Threads count as processes, as they do for the kernel."""

    processes: int
    memory_bytes: int


def measure(ancestor: int, most: int) -> Usage:
    """What the descendants of a process use; stops to count at `most` threads.

    Memory is what each has in RAM and shares with no file; pages that two processes share since a
    fork count twice.
    """
    threads = memory = 0
    queue = _children(ancestor)[0]
    while queue and threads < most:
        pid = queue.pop()
        children, count = _children(pid)
        threads += count
        memory += _private_bytes(pid)
        queue += children
    return Usage(threads, memory)


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


def _private_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123
            fields = file.read().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE if len(fields) > 2 else 0


def scratch(folder: str, most: int) -> tuple[int, int]:
    """Files and bytes below a folder, following no link; stops to count at `most` files."""
    files = used = 0
    queue = [folder]
    while queue:
        try:
            with os.scandir(queue.pop()) as entries:
                for entry in entries:
                    files += 1
                    if files > most:
                        return files, used
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    used += found.st_blocks * _BLOCK
                    if stat.S_ISDIR(found.st_mode):
                        queue.append(entry.path)
        except OSError:
            continue
    return files, used
