"""One health part that several threads feed: ready when all of them are."""

from __future__ import annotations

import threading

from runtime.health import Health
from runtime.logs import Log


class Readiness:
    """Says once when a part begins to wait and once when it goes on. Safe from every thread."""

    def __init__(self, part: str, members: tuple[str, ...], health: Health, log: Log) -> None:
        """No member is ready yet."""
        self._part = part
        self._health = health
        self._log = log
        self._lock = threading.Lock()
        self._waiting: dict[str, str] = dict.fromkeys(members, "starting")
        self._said = False

    def ready(self, member: str) -> None:
        """This member works."""
        with self._lock:
            if self._waiting.pop(member, None) is None or self._waiting:
                return
            self._health.ready(self._part)
            if self._said:
                self._said = False
                self._log.info("works again", part=self._part)

    def waiting(self, member: str, why: str) -> None:
        """This member cannot work now."""
        with self._lock:
            self._waiting[member] = why
            self._health.waiting(self._part, why)
            if not self._said:
                self._said = True
                self._log.warning("waiting", part=self._part, why=why)

    def is_waiting(self, member: str) -> bool:
        """Whether this member said that it cannot work."""
        return member in self._waiting
