"""Postgres: one connection, one transaction per batch, the sink's offsets inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

import orjson
import psycopg
from psycopg.types.json import set_json_loads

from sinks.archive import DeadLetterRow
from sinks.derive import copy, store_events
from sinks.records import EventRow, OutputRow
from sinks.refusals import RefusedRow, is_refusal, refused_row
from sinks.tables import DLQ, OUTPUT, TABLES, Table

#: A statement that takes longer waits for a lock or the disk: it is cancelled and tried again.
_STATEMENT_TIMEOUT_MS: Final = 60_000
_LOCK_TIMEOUT_MS: Final = 20_000

_ENSURE: Final = """
INSERT INTO execution.sink_offsets (topic, partition, next_offset)
SELECT topic, partition, 0 FROM unnest(%s::text[], %s::int[]) AS given (topic, partition)
ON CONFLICT DO NOTHING
"""
_READ: Final = """
SELECT topic, partition, next_offset FROM execution.sink_offsets
WHERE (topic, partition) IN (SELECT * FROM unnest(%s::text[], %s::int[]))
ORDER BY topic, partition
"""
_MOVE: Final = """
UPDATE execution.sink_offsets AS o SET next_offset = given.next_offset
FROM unnest(%s::text[], %s::int[], %s::bigint[]) AS given (topic, partition, next_offset)
WHERE (o.topic, o.partition) = (given.topic, given.partition)
"""

PartitionKey = tuple[str, int]
R = TypeVar("R", bound=tuple[Any, ...])


class StalePosition(Exception):
    """Another sink has moved a position of this batch, so the batch must not be stored."""


class OffsetAdvance(NamedTuple):
    """A position that a batch advances: the stored value that it requires and the new one."""

    expected: int
    following: int


@dataclass(slots=True)
class Batch:
    """What one transaction stores; rows come with their partitions, to name what is refused."""

    events: list[tuple[PartitionKey, int, EventRow]] = field(default_factory=list)
    output: list[tuple[PartitionKey, int, OutputRow]] = field(default_factory=list)
    dead_letters: list[tuple[PartitionKey, int, DeadLetterRow]] = field(default_factory=list)
    advances: dict[PartitionKey, OffsetAdvance] = field(default_factory=dict)


class Database:
    """The sink's session. Not for several threads; after any error, close it and open another."""

    def __init__(self, dsn: str) -> None:
        """Connect and prepare the session; raises psycopg.Error."""
        self._connection = psycopg.connect(
            dsn,
            autocommit=True,
            connect_timeout=5,
            application_name="runstream-sink",
            options=(
                f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c lock_timeout={_LOCK_TIMEOUT_MS} "
                # A crash of the server may lose the last batches, but whole and with their
                # positions, so they are read again: no need to wait for the disk.
                "-c synchronous_commit=off -c timezone=UTC -c client_min_messages=warning"
            ),
        )
        set_json_loads(orjson.loads, self._connection)
        try:
            for table in TABLES:
                self._connection.execute(table.incoming.encode())
        except psycopg.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def positions(self, places: Iterable[PartitionKey]) -> dict[PartitionKey, int]:
        """The next offset to read of each partition; 0 for one that is new."""
        columns = _columns(places)
        with self._connection.transaction():
            self._connection.execute(_ENSURE, columns)
            rows = self._connection.execute(_READ, columns).fetchall()
        return {(topic, partition): following for topic, partition, following in rows}

    def write(self, batch: Batch, keep: Callable[[Sequence[RefusedRow]], None]) -> list[RefusedRow]:
        """Store the batch and move its positions, or neither; returns the rows that were refused.

        `keep` gets the rows that Postgres refuses and returns once they are dead letters; where
        it raises, the batch is rolled back. Raises StalePosition, and psycopg.Error where the
        database is away.
        """
        with self._connection.transaction():
            self._compare(batch.advances)
            refused = self._store(batch.events, self._events)
            refused += self._store(batch.output, lambda rows: self._insert(OUTPUT, rows))
            refused += self._store(batch.dead_letters, lambda rows: self._insert(DLQ, rows))
            if refused:
                keep(refused)
            places = list(batch.advances)
            following = [move.following for move in batch.advances.values()]
            self._connection.execute(_MOVE, [*_columns(places), following])
        return refused

    def _compare(self, advances: dict[PartitionKey, OffsetAdvance]) -> None:
        """Lock the positions, always in the same order, and check that no other sink moved them."""
        rows = self._connection.execute(_READ + " FOR UPDATE", _columns(advances)).fetchall()
        found = {(topic, partition): following for topic, partition, following in rows}
        for place, move in advances.items():
            if found.get(place) != move.expected:
                raise StalePosition(
                    f"{place[0]}[{place[1]}] stands at {found.get(place)}, not {move.expected}"
                )

    def _store(
        self, rows: Sequence[tuple[PartitionKey, int, R]], store: Callable[[list[R]], None]
    ) -> list[RefusedRow]:
        """Store rows; where Postgres refuses, halve until the refused row is found."""
        if not rows:
            return []
        try:
            with self._connection.transaction():
                store([row for _, _, row in rows])
        except psycopg.Error as error:
            if not is_refusal(error):
                raise
            if len(rows) == 1:
                place, offset, _ = rows[0]
                return [refused_row(place, offset, error)]
            middle = len(rows) // 2
            return self._store(rows[:middle], store) + self._store(rows[middle:], store)
        return []

    def _events(self, rows: list[EventRow]) -> None:
        store_events(self._connection, rows)

    def _insert(self, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._connection.cursor() as cursor:
            copy(cursor, table, rows)
            cursor.execute(table.insert.encode())


def _columns(places: Iterable[PartitionKey]) -> list[list[Any]]:
    given = list(places)
    return [[topic for topic, _ in given], [partition for _, partition in given]]
