"""Wait for a child that has just been started."""

from __future__ import annotations

import time
from collections.abc import Callable

from devstack.child import Child
from devstack.errors import LocalStackError
from devstack.files import log_tail


def wait_until(ready: Callable[[], bool], child: Child, seconds: float) -> None:
    """Return when it is ready; raise if it ends before, or is not in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        code = child.poll()
        if code is not None:
            raise LocalStackError(
                f"{child.launch.name} ended with code {code}:\n{log_tail(child.launch.log)}"
            )
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"{child.launch.name} was not ready within {seconds:.0f} s:\n"
                f"{log_tail(child.launch.log)}"
            )
        time.sleep(0.05)
