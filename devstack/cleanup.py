"""End the processes of a supervisor that ended without stopping them."""

from __future__ import annotations

from devstack.errors import LocalStackError
from devstack.identity import kill_if_same, wait_ended
from devstack.state import StackStatus

_SECONDS = 20.0


def end_leftovers(status: StackStatus | None) -> list[str]:
    """Kill the recorded processes that still run; returns their names.

    On Linux there are none, except shortly after the end: the kernel signals them then.
    """
    if status is None:
        return []
    ended = []
    for process in reversed(status.processes):
        if process.pid is None or process.mark is None:
            continue
        if kill_if_same(process.pid, process.mark):
            ended.append(process.name)
        if not wait_ended(process.pid, process.mark, _SECONDS):
            raise LocalStackError(f"{process.name} (pid {process.pid}) cannot be ended.")
    return ended
