"""Quotas of tenants: what one partition lets a tenant have at once and in an hour. Pure.

The executions of a tenant are spread over the partitions by the hash of their idempotency keys, and
each partition counts its own. So each enforces its share: the quota divided by the partitions,
rounded up. All partitions together never allow more than the quota and one execution (or step) for
each partition less one; a tenant whose keys are few, or spread unevenly, meets its share earlier.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from streams.ids import minted_ms
from streams.timestamps import iso

_MINUTE: Final = 60
_WINDOW_MINUTES: Final = 60


@dataclass(frozen=True, slots=True)
class Quota:
    """What a tenant may have, over all partitions."""

    active_executions: int
    executions_per_hour: int
    steps_per_hour: int


#: Stands for the tenant of everything that nobody signed, beside the one that each names; no
#: tenant has this name.
UNSIGNED: Final = "(without a signature)"

#: The quota of a tenant by its name.
QuotaOf = Callable[[str], Quota]

_UNLIMITED: Final = Quota(sys.maxsize, sys.maxsize, sys.maxsize)


def unlimited(_tenant: str) -> Quota:
    """No quota, for tests of other things."""
    return _UNLIMITED


@dataclass(frozen=True, slots=True)
class OverQuota:
    """Why a tenant gets nothing more now."""

    quota: str
    message: str


@dataclass(slots=True)
class _Tenant:
    active: int = 0
    executions: int = 0
    steps: int = 0
    #: Accepted executions and their steps, by minute since 1970.
    minutes: dict[int, tuple[int, int]] = field(default_factory=dict)

    def drop_before(self, minute: int) -> None:
        for old in [known for known in self.minutes if known < minute]:
            executions, steps = self.minutes.pop(old)
            self.executions -= executions
            self.steps -= steps


@dataclass(slots=True)
class Usage:
    """What the tenants of one partition have; tenants that have nothing take no memory."""

    _tenants: dict[str, _Tenant] = field(default_factory=dict)

    def accepted(self, tenant: str, steps: int, at: float, *, living: bool = True) -> None:
        """Count an execution, accepted at `at` (Unix seconds); an ended one in its hour only."""
        known = self._tenants.setdefault(tenant, _Tenant())
        known.active += living
        minute = int(at) // _MINUTE
        executions, sum_of_steps = known.minutes.get(minute, (0, 0))
        known.minutes[minute] = (executions + 1, sum_of_steps + steps)
        known.executions += 1
        known.steps += steps
        if len(known.minutes) > _WINDOW_MINUTES + 1:
            known.drop_before(max(known.minutes) - _WINDOW_MINUTES + 1)

    def restored(self, tenant: str, steps: int, execution_id: str, ended_at: float) -> None:
        """Count an execution that ended; when it was accepted is in its id, never after its end.

        A client may have proposed the id: after a restart its word about the time counts.
        """
        at = min(minted_ms(execution_id) / 1000, ended_at)
        self.accepted(tenant, steps, at, living=False)

    def ended(self, tenant: str) -> None:
        """An execution is active no more."""
        self._tenants[tenant].active -= 1

    def expire(self, now: float) -> None:
        """Forget what is older than an hour, and tenants of whom nothing is left."""
        first = int(now) // _MINUTE - _WINDOW_MINUTES + 1
        for tenant, known in [*self._tenants.items()]:
            known.drop_before(first)
            if not known.active and not known.minutes:
                del self._tenants[tenant]

    def over(
        self, tenant: str, quota: Quota, steps: int, now: float, partitions: int
    ) -> OverQuota | None:
        """Why one more execution with so many steps is too much for the tenant, or None.

        The hour is counted in whole minutes.
        """
        known = self._tenants.get(tenant) or _Tenant()
        known.drop_before(int(now) // _MINUTE - _WINDOW_MINUTES + 1)
        share = _share(quota.active_executions, partitions)
        if known.active >= share:
            return OverQuota(
                "active_executions",
                f"tenant {tenant} has {known.active} active executions in this partition; its "
                f"share of the quota active_executions ({quota.active_executions}) is {share}: "
                "submit it again when one of them has ended",
            )
        share = _share(quota.executions_per_hour, partitions)
        if known.executions >= share:
            free = _free_at(known, 0, known.executions - share + 1)
            return OverQuota(
                "executions_per_hour",
                f"tenant {tenant} had {known.executions} executions accepted by this partition in "
                f"the last hour; its share of the quota executions_per_hour "
                f"({quota.executions_per_hour}) is {share}: submit it again at {free}",
            )
        share = _share(quota.steps_per_hour, partitions)
        if steps > share:
            return OverQuota(
                "steps_per_hour",
                f"the plan has {steps} steps, and a partition's share of the quota steps_per_hour "
                f"({quota.steps_per_hour}) is {share}: split the plan, or raise the quota",
            )
        if known.steps + steps > share:
            free = _free_at(known, 1, known.steps + steps - share)
            return OverQuota(
                "steps_per_hour",
                f"tenant {tenant} had {known.steps} steps accepted by this partition in the last "
                f"hour, and this plan has {steps}; its share of the quota steps_per_hour "
                f"({quota.steps_per_hour}) is {share}: submit it again at {free}",
            )
        return None

    def __len__(self) -> int:
        """How many tenants are known."""
        return len(self._tenants)


def _share(quota: int, partitions: int) -> int:
    return -(-quota // partitions)


def _free_at(known: _Tenant, which: int, needed: int) -> str:
    """When so many executions (0) or steps (1) will be older than an hour."""
    for minute in sorted(known.minutes):
        needed -= known.minutes[minute][which]
        if needed <= 0:
            return iso(float((minute + _WINDOW_MINUTES) * _MINUTE))
    raise AssertionError("what is counted stands in its minute")
