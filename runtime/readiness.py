"""One health part that several threads report to: ready when all of them are."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from runtime.health import Health
from runtime.logs import Log


class Readiness:
    """Logs each reason to wait once, and once when the part works again. Safe from every thread."""

    def __init__(self, part: str, members: Iterable[str], health: Health, log: Log) -> None:
        """No member is ready yet."""
        self._part = part
        self._health = health
        self._log = log
        self._lock = threading.Lock()
        self._waiting: dict[str, str] = dict.fromkeys(members, "starting")
        # Since the part last worked: its members may find different reasons in turn.
        self._logged: set[str] = set()

    def ready(self, member: str) -> None:
        """This member works."""
        with self._lock:
            if self._waiting.pop(member, None) is None or self._waiting:
                return
            self._health.ready(self._part)
            if self._logged:
                self._logged.clear()
                self._log.info("works again", part=self._part)

    def waiting(self, member: str, why: str, *, error: str | None = None) -> None:
        """This member cannot work now; `why` is the same sentence for the same reason.

        `error` is the client's own text, which may differ each time.
        """
        with self._lock:
            self._waiting[member] = why
            self._health.waiting(self._part, why)
            if why not in self._logged:
                self._logged.add(why)
                self._log.warning("waiting", part=self._part, why=why, error=error)

    def is_waiting(self, member: str) -> bool:
        """Whether this member cannot work now, or has not reported yet."""
        return member in self._waiting
