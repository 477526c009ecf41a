"""Events of one execution, by their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from reading.models.events import EventPage, EventView
from reading.sentences import sentence
from streams.events import Event, EventRecord, typed
from streams.payloads import Unknown

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Row

MAX_EVENTS: Final = 1_000
#: Characters of data on one page: with outputs in them a thousand events could be a gigabyte.
_MAX_DATA: Final = 4 * 2**20

#: The first is always there, so that each page goes on.
_EVENTS: Final = """
SELECT * FROM (
    SELECT event_id, execution_id::text, seq, event_type AS type, at, tenant, step, attempt, data,
           sum(octet_length(data::text)) OVER (ORDER BY seq) - octet_length(data::text) AS before
    FROM execution.execution_events AS v
    WHERE execution_id = %(id)s::uuid AND seq > %(after)s AND {visible}
    ORDER BY seq LIMIT %(rows)s
) AS page WHERE before < %(bytes)s ORDER BY seq
"""
_LAST: Final = """
SELECT max(seq) AS last FROM execution.execution_events AS v
WHERE execution_id = %(id)s::uuid AND {visible}
"""


def page(
    connection: Connection[Row], reader: Reader, ident: str, *, after: int, limit: int
) -> EventPage:
    """Events with numbers beyond `after`, in order."""
    visible = reader.sees_one()
    given = {
        **visible.values,
        "id": ident,
        "after": after,
        "rows": min(limit, MAX_EVENTS),
        "bytes": _MAX_DATA,
    }
    rows = connection.execute(_EVENTS.format(visible=visible.sql), given).fetchall()
    found = connection.execute(_LAST.format(visible=visible.sql), given).fetchone()
    last = 0 if found is None or found["last"] is None else found["last"]
    shown = rows[-1]["seq"] if rows else after
    return EventPage(
        execution_id=ident,
        events=[_view(row) for row in rows],
        last_seq=last,
        next=shown if shown < last else None,
    )


def _view(row: Row) -> EventView:
    data: dict[str, Any] = row["data"]
    return EventView(
        event_id=row["event_id"],
        seq=row["seq"],
        type=row["type"],
        at=row["at"],
        step=row["step"],
        attempt=row["attempt"],
        sentence=sentence(_typed(row, data)),
        data=data,
    )


def _typed(row: Row, data: dict[str, Any]) -> Event:
    """The event; data that an earlier version wrote in another shape is Unknown."""
    record = EventRecord.model_construct(
        execution_id=row["execution_id"], seq=row["seq"], type=row["type"],
        at=row["at"].isoformat(), tenant=row["tenant"], step=row["step"],
        attempt=row["attempt"], data=data,
    )  # fmt: skip
    try:
        return typed(record)
    except ValidationError:
        return Event(
            record.execution_id, record.seq, record.type, record.at, record.tenant, Unknown(data),
            record.step, record.attempt,
        )  # fmt: skip
