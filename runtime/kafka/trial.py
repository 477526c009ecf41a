"""A trial: whether code ends the process that runs it, found out in a copy of this process."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from streams.topics import Topic

#: After this long the copy is ended, and the trial has proved nothing.
TRIAL_SECONDS: Final = 30
#: Beyond what the process has; what asks for more has ended the process for its memory.
MEMORY_BYTES: Final = 256 * 1024 * 1024
_ENDED: Final = 70
#: Signals by which the code itself ends a process; any other may have been sent by anybody.
_FAULTS: Final = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS}
)


class Discarded:
    """Takes records in the place of a transaction, and drops them."""

    def send(
        self,
        topic: Topic,
        key: bytes,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        """Drop the record."""

    def send_named(
        self,
        name: str,
        key: bytes | None,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        """Drop the record."""


def ends_the_process(function: Callable[[], None]) -> bool:
    """Whether a copy of this process ends when it calls `function`, by a fault of its own.

    An exception is none, except a lack of memory. Signals that people, supervisors or the system
    send prove nothing, nor does a copy that takes too long. The caller waits at most
    TRIAL_SECONDS, and must drop afterwards what `function` shares with the copy beyond memory
    (open files). The copy has only the thread that calls; a lock that another thread held stays
    locked in it, which ends as a trial that took too long.
    """
    child = os.fork()
    if child == 0:
        _call(function)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code > 0 or -code in _FAULTS


def _call(function: Callable[[], None]) -> NoReturn:
    """Never returns, whatever happens: the copy must not go on as its original would."""
    code = _ENDED
    try:
        # The kernel keeps this limit, also where the copy hangs or its original has been killed.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(TRIAL_SECONDS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        function()
        code = 0
    except MemoryError:
        pass
    except Exception:
        # The decision raises, which costs its record alone; that is decided where it is real.
        code = 0
    finally:
        os._exit(code)
