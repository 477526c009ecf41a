"""The attempts that a lane has claimed, against copies of their commands."""

from __future__ import annotations

from typing import Final

from processors.executors.authentication import MAX_TRANSIT_SECONDS

#: Longer than a copy can count, by the transaction in which the original was claimed.
KEPT_SECONDS: Final = 2 * MAX_TRANSIT_SECONDS
#: Of each half: at 2,500 claims a second nothing is forgotten early. About 60 bytes each.
_MOST: Final = 300_000


class ClaimMemory:
    """Remembers each attempt for `KEPT_SECONDS` at least; for one thread.

    Two halves take turns: when the younger is old enough, or full, the older is forgotten as a
    whole. Only hashes are kept: 64 bits with a seed of the process, so that nobody can make two
    attempts equal.
    """

    def __init__(self, most: int = _MOST) -> None:
        """Nothing was claimed."""
        self._most = most
        self._younger: set[int] = set()
        self._older: set[int] = set()
        self._turned_at = float("-inf")

    def __contains__(self, attempt: str) -> bool:
        """Whether the attempt was claimed here."""
        known = hash(attempt)
        return known in self._younger or known in self._older

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._younger) + len(self._older)

    def add(self, attempt: str, now: float) -> None:
        """The claim of the attempt is committed; `now` in monotonic seconds."""
        if now - self._turned_at >= KEPT_SECONDS or len(self._younger) >= self._most:
            self._older, self._younger = self._younger, set()
            self._turned_at = now
        self._younger.add(hash(attempt))
