"""The lease of an attempt: how long the router takes the executor's word that it is alive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Lease:
    """Good for `seconds` after it was last renewed; all times are monotonic seconds.

    It is renewed from the moment a heartbeat was written, once the broker has it, and never again
    after it was over: by then the router may have started another attempt.
    """

    seconds: float
    renewed_at: float
    beat_at: float

    def holds(self, now: float) -> bool:
        """Whether an effect may begin now."""
        return now - self.renewed_at < self.seconds

    def beat_due(self, now: float) -> bool:
        """Whether a third of the lease has passed since the last heartbeat was written."""
        return now - self.beat_at >= self.seconds / 3

    def renew(self, written_at: float, now: float) -> None:
        """The broker has the heartbeat that was written at `written_at`."""
        if self.holds(now) and written_at > self.renewed_at:
            self.renewed_at = written_at


def claimed(seconds: float, at: float) -> Lease:
    """The lease of a claim; `at` is from before the commit, so it errs on the safe side."""
    return Lease(seconds, renewed_at=at, beat_at=at)
