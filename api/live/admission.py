"""Admission: how many streams may be open, in all and of one caller."""

from __future__ import annotations

from collections import Counter

from api.caller import Caller
from api.live import metrics
from api.live.hub import Hub
from api.live.metrics import Ending, StreamKind
from api.problems import Problem


class Lease:
    """The right to one open stream; ends once."""

    def __init__(self, admission: Admission, kind: StreamKind, key: tuple[str, str]) -> None:
        """Counted from now on."""
        self._admission = admission
        self._key = key
        self.kind: StreamKind = kind
        #: Why the stream ended; set before `end` by whoever knows.
        self.ending: Ending | None = None
        self._is_over = False

    def end(self) -> None:
        """The stream is over."""
        if not self._is_over:
            self._is_over = True
            self._admission.leave(self._key)
            metrics.READERS.labels(self.kind).dec()
            metrics.ENDINGS.labels(self.kind, self.ending or "failed").inc()


class Admission:
    """Counts the open streams."""

    def __init__(self, hub: Hub, most: int, most_of_caller: int) -> None:
        """`hub` shares memory among as many."""
        self._hub = hub
        self._most = most
        self._most_of_caller = most_of_caller
        self._open: Counter[tuple[str, str]] = Counter()

    def lease(self, kind: StreamKind, caller: Caller) -> Lease:
        """Raises Problem 429 or 503 where too many are open."""
        key = (caller.tenant, caller.actor.lower())
        if self._open[key] >= self._most_of_caller:
            metrics.REFUSED.labels("caller").inc()
            told = f"you have {self._most_of_caller} live streams open already: close some of them"
            raise Problem(429, "too_many_streams", told, headers={"Retry-After": "10"})
        if self._open.total() >= self._most:
            metrics.REFUSED.labels("all").inc()
            told = f"{self._most} live streams are open, and no more are served: try again later"
            raise Problem(503, "busy", told, headers={"Retry-After": "10"})
        self._open[key] += 1
        self._hub.readers = self._open.total()
        metrics.READERS.labels(kind).inc()
        return Lease(self, kind, key)

    def leave(self, key: tuple[str, str]) -> None:
        """One stream of this caller is over."""
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]
        self._hub.readers = self._open.total()
