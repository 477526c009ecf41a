"""History: what Postgres has of an execution, and up to which offset of the topic that is all.

The sink stores rows and its position in one transaction. Read in one snapshot they meet exactly:
what is not in the rows lies on the topic from that position on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import orjson

from api.live.records import LiveEvent, Origin
from runtime.kafka import clients
from runtime.settings import CommonSettings
from streams.topics import EVENTS, OUTPUT, Topic

if TYPE_CHECKING:
    from psycopg import Connection

    from api.database import Database

#: One page of events or of output: at least one row, then as many as have so many bytes.
PAGE_ROWS: Final = 500
PAGE_BYTES: Final = 1024 * 1024
#: Chunks of output, of at most 64 KiB of text each.
PAGE_CHUNKS: Final = 16
#: Of the connections of the process; the rest is for other requests.
CONNECTIONS: Final = 4

_EXECUTION: Final = """
SELECT tenant, actor, environment, approval_level, procedure, status::text AS status
FROM execution.executions WHERE execution_id = %s
"""
_ORIGINS: Final = """
SELECT execution_id::text AS execution_id, tenant, actor, environment, approval_level, procedure
FROM execution.executions WHERE execution_id = ANY(%s::uuid[])
"""
_EVENTS: Final = """
SELECT seq, event_type, at, tenant, step, attempt, data, chain FROM (
    SELECT page.*, sum(octet_length(data)) OVER (ORDER BY seq) - octet_length(data) AS bytes_before
    FROM (
        SELECT seq, event_type, at, tenant, step, attempt, data::text AS data, chain
        FROM execution.execution_events WHERE execution_id = %s AND seq > %s
        ORDER BY seq LIMIT %s
    ) AS page
) AS sized WHERE bytes_before < %s ORDER BY seq
"""
_STORED: Final = """
SELECT next_offset FROM execution.sink_offsets WHERE topic = %s AND partition = %s
"""
_CHUNKS: Final = """
SELECT chunk, byte_offset, text, tenant FROM execution.output
WHERE execution_id = %s AND step = %s AND attempt = %s AND stream = %s AND chunk >= %s
ORDER BY chunk LIMIT %s
"""
#: The chunk in which the last bytes begin.
_TAIL: Final = """
SELECT max(o.chunk) AS chunk FROM execution.output AS o, (
    SELECT byte_offset + octet_length(text) AS bytes FROM execution.output
    WHERE execution_id = %(id)s AND step = %(step)s AND attempt = %(attempt)s
        AND stream = %(stream)s
    ORDER BY chunk DESC LIMIT 1
) AS whole
WHERE o.execution_id = %(id)s AND o.step = %(step)s AND o.attempt = %(attempt)s
    AND o.stream = %(stream)s AND o.byte_offset <= greatest(whole.bytes - %(last)s, 0)
"""
_ATTEMPT: Final = """
SELECT max(attempt) AS attempt FROM execution.attempts WHERE execution_id = %s AND step = %s
"""
_ENDED: Final = """
SELECT e.completed_at IS NOT NULL OR a.completed_at IS NOT NULL AS ended,
    (a.stdout->>'bytes')::bigint AS stdout, (a.stderr->>'bytes')::bigint AS stderr
FROM execution.executions AS e LEFT JOIN execution.attempts AS a
    ON (a.execution_id, a.step, a.attempt) = (e.execution_id, %s, %s)
WHERE e.execution_id = %s
"""

Row = dict[str, Any]
T = TypeVar("T")


class Known(NamedTuple):
    """An execution as its row says it."""

    origin: Origin
    status: str | None


class EventPage(NamedTuple):
    """Events in order; `stored` is the offset from which on the topic has more, where it is known.

    Where `is_last` is not set there are more rows.
    """

    events: list[LiveEvent]
    stored: int | None
    is_last: bool


class ChunkPage(NamedTuple):
    """Chunks of an output as JSON with their numbers; the rest as for events."""

    chunks: list[tuple[int, bytes]]
    stored: int | None
    is_last: bool


class History:
    """Questions to Postgres, a few at a time; each raises psycopg.Error where it fails."""

    def __init__(self, settings: CommonSettings, database: Database) -> None:
        """`database` gives rows as dictionaries."""
        self._settings = settings
        self._database = database
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="live-history")

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def execution(self, execution_id: str) -> Known | None:
        """What its row says; None where there is none."""
        rows = await self._ask(lambda connection: _all(connection, _EXECUTION, [execution_id]))
        return Known(_origin(rows[0]), rows[0]["status"]) if rows else None

    async def origins(self, execution_ids: Sequence[str]) -> dict[str, Origin]:
        """Of those that have a row."""
        rows = await self._ask(lambda connection: _all(connection, _ORIGINS, [list(execution_ids)]))
        return {row["execution_id"]: _origin(row) for row in rows}

    async def events(self, execution_id: str, after: int, partition: int) -> EventPage:
        """The events with a greater number, page by page."""

        def ask(connection: Connection[Row]) -> EventPage:
            given = [execution_id, after, PAGE_ROWS, PAGE_BYTES]
            rows = _all(connection, _EVENTS, given)
            left = _all(connection, _EVENTS, [execution_id, rows[-1]["seq"], 1, 1]) if rows else []
            events = [_event(execution_id, partition, row) for row in rows]
            return EventPage(events, self._stored(connection, EVENTS, partition), not left)

        return await self._in_one_snapshot(ask)

    async def chunks(
        self,
        execution_id: str,
        step: str,
        attempt: int,
        stream: str,
        begin: int,
        partition: int,
    ) -> ChunkPage:
        """The chunks from this number on, page by page."""

        def ask(connection: Connection[Row]) -> ChunkPage:
            given = [execution_id, step, attempt, stream, begin, PAGE_CHUNKS]
            rows = _all(connection, _CHUNKS, given)
            chunks = [
                (row["chunk"], _chunk(execution_id, step, attempt, stream, row)) for row in rows
            ]
            stored = self._stored(connection, OUTPUT, partition)
            return ChunkPage(chunks, stored, len(rows) < PAGE_CHUNKS)

        return await self._in_one_snapshot(ask)

    async def tail(self, execution_id: str, step: str, attempt: int, stream: str, last: int) -> int:
        """The chunk in which the last so many bytes begin that are stored; the next one for 0."""
        given = {
            "id": execution_id, "step": step, "attempt": attempt, "stream": stream, "last": last
        }  # fmt: skip
        rows = await self._ask(lambda connection: _all(connection, _TAIL, given))
        found = rows[0]["chunk"]
        return 0 if found is None else int(found) + (last == 0)

    async def attempt(self, execution_id: str, step: str) -> int | None:
        """The latest attempt of a step."""
        rows = await self._ask(lambda connection: _all(connection, _ATTEMPT, [execution_id, step]))
        found: int | None = rows[0]["attempt"]
        return found

    async def ended(self, execution_id: str, step: str, attempt: int, stream: str) -> int | None:
        """How many bytes an attempt that ended wrote; None where it has not ended.

        -1 where it ended and nothing says it.
        """
        given = [step, attempt, execution_id]
        rows = await self._ask(lambda connection: _all(connection, _ENDED, given))
        if not rows or not rows[0]["ended"]:
            return None
        found = rows[0][stream]
        return -1 if found is None else int(found)

    def _stored(self, connection: Connection[Row], topic: Topic, partition: int) -> int | None:
        name = clients.topic_name(self._settings, topic)
        rows = _all(connection, _STORED, [name, partition])
        return int(rows[0]["next_offset"]) if rows else None

    async def _ask(self, question: Callable[[Connection[Row]], T]) -> T:
        def ask() -> T:
            with self._database.connection() as connection:
                return question(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    async def _in_one_snapshot(self, question: Callable[[Connection[Row]], T]) -> T:
        def ask(connection: Connection[Row]) -> T:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return question(connection)

        return await self._ask(ask)


def _all(connection: Connection[Row], query: str, given: Any) -> list[Row]:
    return connection.execute(query.encode(), given).fetchall()


def _origin(row: Row) -> Origin:
    return Origin(
        row["tenant"], row["actor"], row["environment"], row["approval_level"], row["procedure"]
    )


def _event(execution_id: str, partition: int, row: Row) -> LiveEvent:
    """The event as it stood on the topic: the same fields with the same values."""
    at: datetime = row["at"]
    body: dict[str, object] = {
        "at": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": orjson.Fragment(row["data"].encode()),
        "execution_id": execution_id,
        "seq": row["seq"],
        "tenant": row["tenant"],
        "type": row["event_type"],
    }
    for name in ("step", "attempt", "chain"):
        if row[name] is not None:
            body[name] = row[name]
    return LiveEvent(
        partition,
        -1,
        execution_id,
        row["tenant"],
        row["seq"],
        row["event_type"],
        str(body["at"]),
        row["step"],
        row["attempt"],
        orjson.dumps(body),
    )


def _chunk(execution_id: str, step: str, attempt: int, stream: str, row: Row) -> bytes:
    return orjson.dumps(
        {
            "execution_id": execution_id,
            "step": step,
            "attempt": attempt,
            "stream": stream,
            "index": row["chunk"],
            "offset": row["byte_offset"],
            "text": row["text"],
            "tenant": row["tenant"],
        }
    )
