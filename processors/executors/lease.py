"""The lease of an attempt: how long after a heartbeat the router takes it to be alive."""

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
    heartbeat_at: float

    def holds(self, now: float) -> bool:
        """Whether an effect may begin now."""
        return now - self.renewed_at < self.seconds

    def heartbeat_due(self, now: float) -> bool:
        """Whether a third of the lease has passed since the last heartbeat was written."""
        return now - self.heartbeat_at >= self.seconds / 3

    def renew(self, written_at: float, now: float) -> None:
        """The broker has the heartbeat that was written at `written_at`."""
        if self.holds(now) and written_at > self.renewed_at:
            self.renewed_at = written_at


def new_lease(seconds: float, at: float) -> Lease:
    """The lease of a claim; `at` is from before the commit, so it errs on the safe side."""
    return Lease(seconds, renewed_at=at, heartbeat_at=at)
