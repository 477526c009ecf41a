"""The brake on dead letters: a flood of refused records is a fault of ours, not of theirs; pure."""

from __future__ import annotations

from collections import deque
from typing import Final

#: The brake looks at this many records back.
WINDOW: Final = 5_000
#: Fewer dead letters than this in the window never stop it, whatever their share.
ALWAYS_ALLOWED: Final = 500
#: From there on, this share of the window does.
LARGEST_SHARE: Final = 0.5


class PoisonGate:
    """Whether the newest records may be parked, judged by those before them."""

    def __init__(
        self,
        window: int = WINDOW,
        always_allowed: int = ALWAYS_ALLOWED,
        largest_share: float = LARGEST_SHARE,
    ) -> None:
        """The window counts records, not time: a quiet topic keeps its memory."""
        self._window = window
        self._always_allowed = always_allowed
        self._largest_share = largest_share
        self._batches: deque[tuple[int, int]] = deque()
        self._records = 0
        self._poison = 0

    def admits(self, records: int, poison: int) -> bool:
        """Whether a batch of `records`, `poison` of them unreadable, stays under the limit."""
        bad = self._poison + poison
        return bad <= self._always_allowed or bad <= self._largest_share * (self._records + records)

    def count(self, records: int, poison: int) -> None:
        """Remember a batch that was stored."""
        self._batches.append((records, poison))
        self._records += records
        self._poison += poison
        while self._batches and self._records - self._batches[0][0] >= self._window:
            gone, bad = self._batches.popleft()
            self._records -= gone
            self._poison -= bad
