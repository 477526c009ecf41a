"""Trust: the public keys that count now; the file is read again when it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from authority.key_files import read_trusted
from authority.keys import KeyFault, TrustedKey

#: How often the file is looked at, in seconds: within this time a revoked key counts no more.
CHECK_SECONDS: Final = 2.0
#: The same for a key that is not known: it may just have been added.
UNKNOWN_SECONDS: Final = 0.1

_Mark = tuple[int, int, int]


class TrustedKeys:
    """The keys of one file; safe from every thread.

    A file that has become unusable leaves the keys as they were, and is told once.
    """

    def __init__(
        self,
        path: Path,
        on_fault: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file; raises KeyFault. `on_fault` gets a sentence for the log."""
        self._path = path
        self._on_fault = on_fault
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._mark = _mark(path)
        self._keys = read_trusted(path)
        self._checked_at = monotonic()
        #: Grows by one with every change of the keys.
        self.generation = 0

    def refresh(self, seconds: float = CHECK_SECONDS) -> None:
        """Read the file again where it has changed; at most once in so many seconds."""
        if self._monotonic() - self._checked_at < seconds:
            return
        if not self._lock.acquire(blocking=False):
            return  # Another thread does it.
        try:
            self._checked_at = self._monotonic()
            mark = _mark(self._path)
            if mark == self._mark:
                return
            self._mark = mark
            self._keys = read_trusted(self._path)
            self.generation += 1
        except KeyFault as fault:
            self._on_fault(f"{fault}; the keys that were read before go on to count")
        finally:
            self._lock.release()

    def find(self, kid: str) -> TrustedKey | None:
        """The key of this id."""
        if kid not in self._keys:
            self.refresh(UNKNOWN_SECONDS)
        return self._keys.get(kid)

    def all(self) -> list[TrustedKey]:
        """All keys."""
        return list(self._keys.values())


def _mark(path: Path) -> _Mark | None:
    """What changes with the file's content; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
