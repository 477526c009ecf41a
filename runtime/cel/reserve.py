"""How much time the expressions of one decision may take together.

One expression is bounded by its process. A plan may hold thousands of them, and a batch a thousand
plans, while the loop must poll within minutes to keep its partitions.
"""

from __future__ import annotations

from typing import Final

from runtime import clock

DECISION_SECONDS: Final = 5.0
#: What a decision gets even after others have used everything; ample for ordinary expressions.
LEAST_SECONDS: Final = 0.05
#: What decisions may use above LEAST_SECONDS at once, and how fast it comes back.
RESERVE_SECONDS: Final = 20.0
REFILL_PER_SECOND: Final = 0.2


class Reserve:
    """The seconds that all decisions of this process share; for one thread."""

    def __init__(self) -> None:
        """It begins full."""
        self._left = RESERVE_SECONDS
        self._at = clock.monotonic()

    def left_after(self, spent_seconds: float) -> float:
        """What is left to a decision whose expressions have taken so long."""
        now = clock.monotonic()
        self._left = min(RESERVE_SECONDS, self._left + (now - self._at) * REFILL_PER_SECOND)
        self._at = now
        return min(DECISION_SECONDS - spent_seconds, max(LEAST_SECONDS - spent_seconds, self._left))

    def use(self, seconds: float) -> None:
        """Take that much out, at most all."""
        self._left = max(self._left - seconds, 0.0)
