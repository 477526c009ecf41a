"""The limit of dead letters: where most records fail, this program is at fault and stops; pure.

Without it a defect, or a newer format of a topic, would move a whole topic to its dead-letter
topic before anybody has looked.
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: The limit looks at this many records back.
WINDOW: Final = 5_000
#: Fewer dead letters than this in the window never reach it, whatever their share.
ALWAYS_ALLOWED: Final = 500
#: From there on, this share of the window does.
LARGEST_SHARE: Final = 0.5


class DlqLimitReached(Exception):
    """Most of the latest records would go to the dead letters; consuming stops instead."""


class DlqLimit:
    """Whether the newest records may become dead letters, judged by those before them."""

    def __init__(
        self,
        window: int = WINDOW,
        always_allowed: int = ALWAYS_ALLOWED,
        largest_share: float = LARGEST_SHARE,
    ) -> None:
        """The window counts records, not time, so it is the same after a topic was idle."""
        self._window = window
        self._always_allowed = always_allowed
        self._largest_share = largest_share
        self._batches: deque[tuple[int, int]] = deque()
        self._records = 0
        self._failed = 0

    def check(self, records: int, failed: int) -> None:
        """Raise DlqLimitReached where a batch of `records`, `failed` of them dead letters, is
        too much; counts nothing.
        """
        bad = self._failed + failed
        allowed = max(self._always_allowed, self._largest_share * (self._records + records))
        if bad > allowed:
            raise DlqLimitReached(f"{bad} of the last {self._records + records} records failed")

    def count(self, records: int, failed: int) -> None:
        """Add a batch that is done to the window."""
        self._batches.append((records, failed))
        self._records += records
        self._failed += failed
        while self._batches and self._records - self._batches[0][0] >= self._window:
            gone, bad = self._batches.popleft()
            self._records -= gone
            self._failed -= bad
