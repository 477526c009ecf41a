"""Listing: who holds which asset and who waits for it, from what the keeper knows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from processors.locks.keeper import Keeper
from processors.locks.names import is_record
from processors.locks.state import COUNTER, decode


@dataclass(frozen=True, slots=True)
class LockedAsset:
    """One asset that is held or waited for."""

    tenant: str
    asset: str
    #: None while it is kept free for the first who waits, who needs other assets too.
    holder: str | None
    fencing_token: int | None
    #: Executions in the order in which they are served.
    waiting: tuple[str, ...]


def listing(records: Iterable[tuple[bytes, bytes | None]]) -> list[LockedAsset]:
    """The assets of a changelog, by tenant and name; raises as `decode` does."""
    latest: dict[bytes, bytes] = {}
    for key, value in records:
        if value is None:
            latest.pop(key, None)
        else:
            latest[key] = value
    latest.pop(COUNTER, None)
    keeper = Keeper()
    parties = (decode(key, value) for key, value in latest.items() if not is_record(key))
    keeper.restored(parties, 0, 0.0)
    return [_asset(keeper, *key) for key in sorted({*keeper.holders, *keeper.queues})]


def _asset(keeper: Keeper, tenant: str, asset: str) -> LockedAsset:
    holder = keeper.holders.get((tenant, asset))
    return LockedAsset(
        tenant,
        asset,
        holder,
        None if holder is None else keeper.parties[holder].tokens[asset],
        tuple(rank[-1] for rank in keeper.queues.get((tenant, asset), ())),
    )
