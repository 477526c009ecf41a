"""A time limit for client calls that may never return."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

_Job = tuple[Callable[..., Any], tuple[Any, ...]]


class CallThread:
    """Makes one call at a time in a thread of its own, so that waiting for it can end.

    The thread of a call that does not return is abandoned and the next call gets a new one: there
    are as many abandoned threads as calls that hang. They are daemons, so the process can end.
    """

    def __init__(self, name: str) -> None:
        """Starts no thread yet."""
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] | None = None
        self._ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def call_with_timeout(
        self, timeout_seconds: float, function: Callable[..., Any], *given: Any
    ) -> None:
        """Call it and wait; raises what it raised, or TimeoutError."""
        jobs = self._jobs
        if jobs is None:
            jobs = self._jobs = queue.SimpleQueue()
            self._ends = queue.SimpleQueue()
            threading.Thread(
                target=_serve, args=(jobs, self._ends), name=self._name, daemon=True
            ).start()
        jobs.put((function, given))
        try:
            error = self._ends.get(timeout=timeout_seconds)
        except queue.Empty:
            jobs.put(None)
            self._jobs = None
            raise TimeoutError from None
        if error is not None:
            raise error

    def close(self) -> None:
        """Let the thread end."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None


def _serve(
    jobs: queue.SimpleQueue[_Job | None], ends: queue.SimpleQueue[BaseException | None]
) -> None:
    while (job := jobs.get()) is not None:
        function, given = job
        try:
            function(*given)
        except BaseException as error:
            ends.put(error)
        else:
            ends.put(None)
        # Not kept until the next job: it may hold the last reference to a producer.
        del job, function, given
