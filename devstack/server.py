"""A server whose files are in one folder, started and stopped from this process."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from devstack.child import Child
from devstack.errors import LocalStackError
from devstack.files import log_tail

_POLL_SECONDS = 0.05


class LocalServer(ABC):
    """What the broker and the database have in common.

    Start it from a thread that ends after it. Stopped or killed, it can be started again, on the
    same port with the same data.
    """

    _child: Child | None = None

    @abstractmethod
    def prepare(self) -> Child:
        """Make what is missing and return the process, not started yet; keeps it in `_child`."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it serves clients now."""

    @property
    def pid(self) -> int | None:
        """The server's process number while it runs."""
        return self._child.pid if self._child is not None else None

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Start it and wait until it is ready; stops it where this raises LocalStackError."""
        child = self._child or self.prepare()
        child.start()
        try:
            self._wait_ready(child, timeout_seconds)
        except BaseException:
            child.kill()
            raise

    def stop(self) -> None:
        """Shut the server down; does nothing where it does not run."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """End the server at once, as a crash would; does nothing where it does not run."""
        if self._child is not None:
            self._child.kill()

    def _wait_ready(self, child: Child, seconds: float) -> None:
        name, log = child.launch.name, child.launch.log
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            code = child.poll()
            if code is not None:
                raise LocalStackError(f"{name} ended with code {code}:\n{log_tail(log)}")
            if time.monotonic() > deadline:
                raise LocalStackError(
                    f"{name} was not ready within {seconds:.0f} s:\n{log_tail(log)}"
                )
            time.sleep(_POLL_SECONDS)
