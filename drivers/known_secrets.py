"""What this process must never let out: all secrets that it holds or has resolved."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Final

from drivers.secret_matcher import Matcher

#: Resolved values that are remembered: as many, and as many characters, as this.
_MOST: Final = 200
_MOST_CHARACTERS: Final = 256 * 1024


class KnownSecrets:
    """For any thread; `held` are kept always, of the others those that were used last.

    Who uses many makes their own be forgotten: of the tenant with the most, and in it of the actor
    with the most, the one that was used longest ago.
    """

    def __init__(self, held: Iterable[str] = ()) -> None:
        """`held` are values that the process has in its memory for as long as it runs."""
        self._held = frozenset(held)
        #: Each with the tenant and the actor that used it last; the last use is at the end.
        self._used: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()
        self._values = self._held
        self._matcher: Matcher | None = None

    def add(self, value: str, tenant: str, actor: str) -> None:
        """A value was resolved: from now on it is masked in the output of every attempt."""
        with self._lock:
            if value in self._held:
                return
            known = value in self._used
            self._used[value] = (tenant, actor)
            self._used.move_to_end(value)
            if known:
                return
            self._characters += len(value)
            while len(self._used) > _MOST or self._characters > _MOST_CHARACTERS:
                forgotten = self._least_needed(by_length=self._characters > _MOST_CHARACTERS)
                del self._used[forgotten]
                self._characters -= len(forgotten)
            self._values = self._held.union(self._used)
            self._matcher = None

    def _least_needed(self, *, by_length: bool) -> str:
        tenants: Counter[str] = Counter()
        owners: Counter[tuple[str, str]] = Counter()
        for value, owner in self._used.items():
            size = len(value) if by_length else 1
            tenants[owner[0]] += size
            owners[owner] += size
        # Of several with as much, max takes the first: the one whose oldest value is the oldest.
        tenant = max(tenants, key=tenants.__getitem__)
        most = max((owner for owner in owners if owner[0] == tenant), key=owners.__getitem__)
        return next(value for value, owner in self._used.items() if owner == most)

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
