"""Dead letters: the copies that the sink keeps of them.

A letter belongs to the tenant of its execution. One that names no execution that is known is of
nobody: its record could not be read, so nothing proves whose it was. Only operators see these.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from reading import cursors
from reading.models.dead_letters import (
    Content,
    DeadLetter,
    DeadLetterCounts,
    DeadLetterGroup,
    DeadLetterPage,
    DeadLetterSummary,
    LetterHeader,
)
from reading.rows import Condition

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Row

MAX_PAGE: Final = 500
MAX_SPANS: Final = 200
#: Topics and classes that are counted apart.
MAX_GROUPS: Final = 500
#: The tenant of those who run the cluster, as in the built-in policy.
OPERATORS: Final = "default"
#: The class of a step after its last attempt, whose redrive is a rerun.
_EXHAUSTED: Final = "retries_exhausted"

#: The execution is looked up for each letter by its key, however many there are. Anybody writes the
#: header that the id is from; what is none would end the query.
_FROM: Final = """
FROM execution.execution_dlq AS d LEFT JOIN LATERAL (
    SELECT e.execution_id AS known, e.tenant, e.environment, e.approval_level, e.actor
    FROM execution.executions AS e
    WHERE e.execution_id = CASE
        WHEN d.execution_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        THEN d.execution_id::uuid END
    LIMIT 1) AS visible ON true
"""
_SUMMARY: Final = """
    d.topic, d.partition, d."offset", d.at, d.error_class, d.error_message, d.stage,
    d.source_topic, d.source_partition, d.source_offset, d.execution_id, d.key_bytes,
    d.value_bytes
"""
_PAGE: Final = """
SELECT {columns} {letters} WHERE {conditions}
ORDER BY d.at DESC, d.topic, d.partition, d."offset" DESC LIMIT %(rows)s
"""
_AFTER: Final = """
(d.at < %(last_at)s OR (d.at = %(last_at)s AND (d.topic, d.partition, -d."offset")
                        > (%(last_topic)s, %(last_partition)s, -%(last_offset)s::bigint)))
"""
_ONE: Final = """
SELECT {columns}, d.key, d.value, d.headers {letters}
WHERE d.topic = %(topic)s AND d.partition = %(partition)s AND d."offset" = %(offset)s
  AND {conditions}
"""
_COUNTS: Final = """
SELECT topic, error_class, sum(number)::bigint AS number, min(first_at) AS first_at,
       max(last_at) AS last_at, array_agg(place) AS places, array_agg(number) AS numbers
FROM (SELECT topic, error_class, place, count(*) AS number, min(at) AS first_at,
             max(at) AS last_at
      FROM (SELECT d.topic, d.error_class, d.at,
                   least(floor(extract(epoch FROM d.at - %(since)s) / %(span)s)::int,
                         %(spans)s - 1) AS place
            {letters} WHERE {conditions}) AS placed
      GROUP BY 1, 2, 3) AS by_span
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %(rows)s
"""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are asked for; what is None is not asked."""

    topic: str | None = None
    error_class: str | None = None
    execution_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> tuple[list[str], dict[str, Any]]:
        """What holds of these letters, and the values for it."""
        known = {
            "topic": "(d.topic = %(topic)s OR d.source_topic = %(topic)s)",
            "error_class": "d.error_class = %(error_class)s",
            "execution_id": "d.execution_id = %(execution_id)s",
            "since": "d.at >= %(since)s",
            "until": "d.at < %(until)s",
        }
        values = {name: getattr(self, name) for name in known}
        given = {name: value for name, value in values.items() if value is not None}
        return [known[name] for name in given], given


def visible(reader: Reader) -> Condition:
    """What holds of the letters that the reader may see."""
    own = reader.condition("visible")
    if reader.everything and reader.tenant == OPERATORS:
        return Condition(f"(({own.sql}) OR visible.known IS NULL)", own.values)
    return own


def redriven_by(error_class: str | None, source_topic: str | None) -> Literal["record", "rerun"]:
    """How a letter is redriven: a step after its last attempt by a rerun, the others as bytes."""
    exhausted = error_class == _EXHAUSTED and "steps." in (source_topic or "")
    return "rerun" if exhausted else "record"


def page(
    connection: Connection[Row],
    reader: Reader,
    wanted: Filter,
    limit: int,
    after: str | None = None,
) -> DeadLetterPage:
    """A page of letters, newest first; raises CursorError."""
    limit = min(limit, MAX_PAGE)
    seen = visible(reader)
    conditions, given = wanted.conditions()
    conditions.append(seen.sql)
    given = {**seen.values, **given, "rows": limit + 1}
    if after is not None:
        at, topic, partition, offset = cursors.decode("letters", after, str, str, int, int)
        conditions.append(_AFTER)
        given |= {"last_at": cursors.moment(at), "last_topic": topic}
        given |= {"last_partition": partition, "last_offset": offset}
    query = _PAGE.format(columns=_SUMMARY, letters=_FROM, conditions=" AND ".join(conditions))
    found = connection.execute(query, given).fetchall()
    shown, following = found[:limit], None
    if len(found) > limit:
        last = shown[-1]
        following = cursors.encode(
            "letters", last["at"].isoformat(), last["topic"], last["partition"], last["offset"]
        )
    return DeadLetterPage(letters=[DeadLetterSummary(**row) for row in shown], next=following)


def one(
    connection: Connection[Row], reader: Reader, topic: str, partition: int, offset: int
) -> DeadLetter | None:
    """The letter at this place; None where there is none that the reader may see."""
    seen = visible(reader)
    given = {**seen.values, "topic": topic, "partition": partition, "offset": offset}
    row = connection.execute(
        _ONE.format(columns=_SUMMARY, letters=_FROM, conditions=seen.sql), given
    ).fetchone()
    if row is None:
        return None
    return DeadLetter(
        **{name: row[name] for name in DeadLetterSummary.model_fields},
        key=_content(row["key"], row["key_bytes"]),
        value=_content(row["value"], row["value_bytes"]),
        headers=_headers(row["headers"]),
        redrive=redriven_by(row["error_class"], row["source_topic"]),
    )


def counts(
    connection: Connection[Row], reader: Reader, wanted: Filter, since: datetime, until: datetime,
    spans: int,
) -> DeadLetterCounts:  # fmt: skip
    """The letters of a range by topic and class, with how many came in each span of it."""
    seen = visible(reader)
    ranged = Filter(wanted.topic, wanted.error_class, wanted.execution_id, since, until)
    conditions, given = ranged.conditions()
    span = (until - since) / spans
    given = {
        **seen.values, **given, "span": span.total_seconds(), "spans": spans, "rows": MAX_GROUPS
    }  # fmt: skip
    query = _COUNTS.format(letters=_FROM, conditions=" AND ".join([*conditions, seen.sql]))
    groups = [_group(row, spans) for row in connection.execute(query, given).fetchall()]
    return DeadLetterCounts(
        since=since,
        until=until,
        span_seconds=span / timedelta(seconds=1),
        total=sum(group.count for group in groups),
        groups=groups,
    )


def _group(row: Row, spans: int) -> DeadLetterGroup:
    series = [0] * spans
    for place, number in zip(row["places"], row["numbers"], strict=True):
        series[place] = number
    return DeadLetterGroup(
        topic=row["topic"],
        error_class=row["error_class"],
        count=row["number"],
        first_at=row["first_at"],
        last_at=row["last_at"],
        series=series,
    )


def _content(stored: bytes | None, size: int | None) -> Content | None:
    if stored is None:
        return None
    whole = len(stored) if size is None else size
    complete = len(stored) >= whole
    try:
        # A beginning may end within a character.
        decoded = stored.decode() if complete else _beginning(stored)
    except UnicodeDecodeError:
        encoded = base64.b64encode(stored).decode()
        return Content(encoding="base64", text=encoded, bytes=whole, complete=complete)
    return Content(encoding="text", text=decoded, bytes=whole, complete=complete)


def _beginning(stored: bytes) -> str:
    for cut in range(4):
        try:
            return stored[: len(stored) - cut].decode()
        except UnicodeDecodeError:
            continue
    return stored.decode()


def _headers(stored: dict[str, str | None]) -> list[LetterHeader]:
    return [LetterHeader(name=name, value=value) for name, value in stored.items()]
