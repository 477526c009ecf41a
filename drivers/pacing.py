"""How fast one process sends to one receiver: a token bucket per receiver.

The generic cell rate algorithm (ITU-T I.371, annex A): one number per receiver, the moment at
which its bucket is full again, stands for the tokens. It is a limit per executor process, not for
all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Receivers remembered; one beyond that takes the place of the one longest unused.
_RECEIVERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and so many at once."""

    per_second: float
    burst: int


class Pace:
    """Buckets by key; moments are monotonic seconds."""

    def __init__(self) -> None:
        """Every bucket is full."""
        self._full_at: dict[str, float] = {}

    def reserve(self, key: str, rate: Rate, now: float, patience: float) -> tuple[bool, float]:
        """Take a token that is there within `patience` seconds.

        Returns whether it was taken, and how long to wait: before sending, or before asking again.
        """
        interval = 1.0 / rate.per_second
        full_at = max(self._full_at.pop(key, now), now)
        wait = max(0.0, full_at - (rate.burst - 1) * interval - now)
        taken = wait <= patience
        self._full_at[key] = full_at + interval if taken else full_at
        if len(self._full_at) > _RECEIVERS:
            del self._full_at[next(iter(self._full_at))]
        return taken, wait

    def __len__(self) -> int:
        """How many receivers are remembered."""
        return len(self._full_at)
