"""Locks: who holds which asset and who waits, from the keeper's topic; since when, from tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from processors.locks.listing import LockedAsset, listing
from reading.compacted import CompactedTopic
from reading.models.locks import LockList, LockParty, LockView
from streams.topics import LOCKS_STATE

if TYPE_CHECKING:
    from confluent_kafka import Message
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Row
    from runtime.settings import CommonSettings

#: Assets in one answer.
MAX_LOCKS: Final = 2_000

_HELD: Final = """
SELECT asset, execution_id::text, step, acquired_at FROM execution.execution_locks
WHERE tenant = %(reader_tenant)s AND asset = ANY(%(assets)s)
"""
#: Of an execution the step that waits longest.
_WAIT: Final = """
SELECT DISTINCT ON (execution_id) execution_id::text, step, updated_at
FROM execution.execution_steps
WHERE execution_id = ANY(%(ids)s::uuid[]) AND status = 'waiting'
ORDER BY execution_id, updated_at
"""
_NAMES: Final = """
SELECT execution_id::text, name FROM execution.executions AS e
WHERE execution_id = ANY(%(ids)s::uuid[]) AND {visible}
"""


def topic(settings: CommonSettings) -> CompactedTopic[bytes]:
    """Locks as they stand on their topic."""
    return CompactedTopic(settings, LOCKS_STATE, take)


def take(message: Message) -> bytes | None:
    """The record as it is: only all of them together say who waits for whom."""
    return message.value()


def locked(found: Mapping[bytes, bytes], tenant: str) -> list[LockedAsset]:
    """The assets of a tenant that are held or waited for.

    Raises ValueError, KeyError or TypeError where another version wrote the records.
    """
    return [asset for asset in listing(found.items()) if asset.tenant == tenant]


def locks(
    connection: Connection[Row], reader: Reader, assets: list[LockedAsset], as_of: datetime
) -> LockList:
    """The locks of the reader's tenant; executions that the reader may not see have no name."""
    shown = assets[:MAX_LOCKS]
    parties = {one for asset in shown for one in (asset.holder, *asset.waiting) if one is not None}
    visible = reader.condition()
    given = {**visible.values, "ids": sorted(parties), "assets": [one.asset for one in shown]}
    given["reader_tenant"] = reader.tenant
    rows = connection.execute(_NAMES.format(visible=visible.sql), given).fetchall()
    names = {row["execution_id"]: row["name"] for row in rows}
    held = {(row["asset"], row["execution_id"]): row for row in connection.execute(_HELD, given)}
    waits = {row["execution_id"]: row for row in connection.execute(_WAIT, given)}
    return LockList(
        locks=[_view(asset, names, held, waits) for asset in shown],
        total=len(assets),
        as_of=as_of,
    )


def _view(
    asset: LockedAsset,
    names: Mapping[str, str | None],
    held: Mapping[tuple[str, str], Row],
    waits: Mapping[str, Row],
) -> LockView:
    holder = None
    if asset.holder is not None:
        row = held.get((asset.asset, asset.holder)) or {}
        holder = _party(asset.holder, names, row.get("step"), row.get("acquired_at"))
    return LockView(
        asset=asset.asset,
        holder=holder,
        fencing_token=asset.fencing_token,
        waiting=[*_waiting(asset.waiting, names, waits)],
    )


def _waiting(
    idents: Iterable[str], names: Mapping[str, str | None], waits: Mapping[str, Row]
) -> Iterable[LockParty]:
    for ident in idents:
        row = waits.get(ident) or {}
        yield _party(ident, names, row.get("step"), row.get("updated_at"))


def _party(
    ident: str, names: Mapping[str, str | None], step: str | None, since: datetime | None
) -> LockParty:
    if ident not in names:
        return LockParty(execution_id=None, name=None, step=None, since=since)
    return LockParty(execution_id=ident, name=names[ident], step=step, since=since)
