"""Calls that may hang, made in a thread that can be left behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

_Job = tuple[Callable[..., Any], tuple[Any, ...]]


class WatchedCalls:
    """One call at a time, with a limit that holds even where the callee ignores its own.

    The thread of a call that did not come back is left to itself and replaced: as many are left
    as calls hung, and none of them keeps the process from ending.
    """

    def __init__(self, name: str) -> None:
        """Starts no thread yet."""
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] | None = None
        self._ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def call(self, timeout_seconds: float, function: Callable[..., Any], *given: Any) -> None:
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
        # Not kept until the next job: it may hold a producer that is to go away.
        del job, function, given
