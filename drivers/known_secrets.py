"""What this process must never let out: all secrets that it holds or has resolved."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from drivers.secret_matcher import Matcher

#: Resolved values that are remembered: as many, and as many characters, as this.
_MOST: Final = 200
_MOST_CHARACTERS: Final = 256 * 1024


class KnownSecrets:
    """For any thread; those used last are kept, and `held` always."""

    def __init__(self, held: Iterable[str] = ()) -> None:
        """`held` are values that the process has in its memory for as long as it runs."""
        self._held = frozenset(held)
        self._used: OrderedDict[str, None] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()
        self._values = self._held
        self._matcher: Matcher | None = None

    def add(self, value: str) -> None:
        """A value was resolved: from now on it is masked in the output of every attempt."""
        with self._lock:
            if value in self._held:
                return
            if value in self._used:
                self._used.move_to_end(value)
                return
            self._used[value] = None
            self._characters += len(value)
            while len(self._used) > _MOST or self._characters > _MOST_CHARACTERS:
                forgotten, _ = self._used.popitem(last=False)
                self._characters -= len(forgotten)
            self._values = self._held.union(self._used)
            self._matcher = None

    @property
    def values(self) -> frozenset[str]:
        """All of them; the same object until one is added."""
        return self._values

    def matcher(self) -> Matcher:
        """The forms of all of them; compiled once after each new value."""
        with self._lock:
            if self._matcher is None:
                self._matcher = Matcher(self._values)
            return self._matcher
