"""Cancels that no router has signed, kept until the executor of their attempt reports them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

#: Attempts that are remembered: the latest. Of each so many cancels are reported, as many as the
#: router writes down of one execution.
KEPT_ATTEMPTS: Final = 1_000
KEPT_EACH: Final = 20


@dataclass(slots=True)
class _Kept:
    count: int = 0
    unreported: list[tuple[int, str]] = field(default_factory=list)


class ForgedCancels:
    """Why each was refused, by attempt id; safe from every thread.

    Every instance reads each cancel, and only the one that has the attempt reports it, once.
    """

    def __init__(self) -> None:
        """Hold none."""
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        """How many attempts are remembered."""
        return len(self._known)

    def add(self, attempt: str, why: str) -> None:
        """Keep it until it is taken; beyond the bounds it is dropped, or an older attempt is."""
        with self._lock:
            kept = self._known.setdefault(attempt, _Kept())
            if kept.count < KEPT_EACH:
                kept.count += 1
                kept.unreported.append((kept.count, why))
            while len(self._known) > KEPT_ATTEMPTS:
                self._known.popitem(last=False)

    def take(self, attempt: str) -> list[tuple[int, str]]:
        """Those of this attempt that were not taken yet, numbered in the order of their reading."""
        # A single dictionary access is atomic, and each attempt makes one: mostly no lock.
        if attempt not in self._known:
            return []
        with self._lock:
            kept = self._known.get(attempt)
            if kept is None:
                return []
            taken, kept.unreported = kept.unreported, []
            return taken
