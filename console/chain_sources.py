"""Verifying chains: the events of the topic or of the tables, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from console import broker
from console.chain_check import (
    CHANGED,
    MISSING,
    NO_TAIL,
    UNREADABLE,
    Checked,
    Finding,
    Linked,
    Rules,
    check,
    linked,
)
from runtime.clock import monotonic
from runtime.kafka import clients, restore
from streams.envelope import SIGNATURE, header
from streams.ids import event_id
from streams.topics import EVENTS

if TYPE_CHECKING:
    from confluent_kafka import Message
    from psycopg import Connection

    from runtime.settings import CommonSettings

Row = dict[str, Any]
#: Findings that are kept; the rest is counted.
MAX_FINDINGS: Final = 100
_PROGRESS_SECONDS: Final = 2.0
_PAGE: Final = 2_000
_READ_SECONDS: Final = 1.0
_FIRST: Final = "00000000-0000-0000-0000-000000000000"

#: By the unique index, page by page: no statement is long, whatever the size of the table.
_ROWS: Final = """
SELECT v.event_id, v.execution_id::text, v.seq, v.event_type, v.tenant, v.step, v.attempt,
       to_char(v.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at,
       v.data::text AS data, v.chain, v.signature, e.last_seq
FROM execution.execution_events AS v LEFT JOIN execution.executions AS e USING (execution_id)
WHERE (v.execution_id, v.seq) > (%(id)s::uuid, %(seq)s)
  AND (%(only)s::uuid IS NULL OR v.execution_id = %(only)s::uuid)
ORDER BY v.execution_id, v.seq LIMIT %(page)s
"""
_WITHOUT_EVENTS: Final = """
SELECT e.execution_id::text FROM execution.executions AS e
WHERE (%(only)s::uuid IS NULL OR e.execution_id = %(only)s::uuid) AND NOT EXISTS (
    SELECT FROM execution.execution_events AS v WHERE v.execution_id = e.execution_id
) LIMIT %(most)s
"""
_STATES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE known (
    id TEXT PRIMARY KEY, seq INTEGER, chain TEXT, ended INTEGER, holds_from INTEGER, bad INTEGER
) WITHOUT ROWID;
"""


@dataclass(slots=True)
class Verified:
    """What a source came to."""

    source: str
    executions: int = 0
    events: int = 0
    #: Without a terminal event: they go on, or their last events were removed.
    open: int = 0
    #: The chain vouches for a later event on only: what was before has expired or had no chain.
    later: int = 0
    bad: int = 0
    findings: list[Finding] = field(default_factory=list)
    #: The execution, where only one was looked at.
    only: Checked | None = None

    def add(self, found: Finding | None) -> None:
        """Count a finding, and keep it while there is room."""
        if found is not None:
            self.bad += 1
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(found)

    def close(self, known: Checked) -> None:
        """No more events of this execution follow."""
        self.executions += 1
        self.open += not known.ended
        self.later += known.holds_from != 1


class Progress:
    """Says how far a long verification is."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` gets a sentence every two seconds."""
        self._tell = tell
        self._due = monotonic() + _PROGRESS_SECONDS

    def at(self, events: int, executions: int | None = None) -> None:
        """So much is done."""
        if monotonic() >= self._due:
            self._due = monotonic() + _PROGRESS_SECONDS
            of = "" if executions is None else f" of {executions:,} executions"
            self._tell(f"{events:,} events{of}")


def verify_tables(
    connection: Connection[Row], only: str | None, rules: Rules, progress: Progress
) -> Verified:
    """Check one execution, or all, as they stand in Postgres."""
    result = Verified("postgres")
    known: Checked | None = None
    last = 0
    for row in _rows(connection, only):
        if known is None or row["execution_id"] != known.execution_id:
            _close_stored(result, known, last)
            known = Checked(row["execution_id"])
        last = row["last_seq"] or 0
        found = check(known, _stored(row), rules)
        if found is None and row["event_id"] != event_id(known.execution_id, row["seq"]):
            known.is_bad = True
            found = Finding(known.execution_id, row["seq"], UNREADABLE, "its id is not its own")
        result.add(found)
        result.events += 1
        if result.events % 256 == 0:
            progress.at(result.events, result.executions)
    _close_stored(result, known, last)
    result.only = known if only is not None else None
    given = {"only": only, "most": MAX_FINDINGS}
    for row in connection.execute(_WITHOUT_EVENTS, given):
        result.add(Finding(row["execution_id"], 1, MISSING, "none of its events is left"))
    return result


def _close_stored(result: Verified, known: Checked | None, last: int) -> None:
    if known is None:
        return
    if known.seq < last and not known.is_bad:
        known.is_bad = True
        message = f"the table of executions knows event {last}, but the events end before this one"
        result.add(Finding(known.execution_id, known.seq + 1, NO_TAIL, message))
    result.close(known)


def _rows(connection: Connection[Row], only: str | None) -> Iterator[Row]:
    place = {"id": _FIRST, "seq": 0, "only": only, "page": _PAGE}
    while page := connection.execute(_ROWS, place).fetchall():
        yield from page
        place |= {"id": page[-1]["execution_id"], "seq": page[-1]["seq"]}


def stored_events(connection: Connection[Row], ident: str) -> Iterator[Row]:
    """The events of one execution as they stand in Postgres, in order."""
    for row in _rows(connection, ident):
        event = _body(row)
        yield {**event, "data": event["data"] or {}, "chain": row["chain"]}


def compare(results: Sequence[Verified]) -> None:
    """Compare what the topic and the tables say of one execution, where both were looked at.

    The tables hold what the topic held, so the topic ends no earlier, unless it has expired.
    """
    if len(results) != 2:
        return
    topic, tables = (one.only or Checked("") for one in results)
    if not topic.seq or not tables.seq or topic.is_bad or tables.is_bad:
        return
    if topic.seq < tables.seq:
        message = f"the tables know event {tables.seq}, but the topic ends before this one"
        results[0].add(Finding(topic.execution_id, topic.seq + 1, NO_TAIL, message))
    elif topic.seq == tables.seq and topic.chain != tables.chain:
        message = "its chain differs between topic and tables: one of the logs was written anew"
        results[1].add(Finding(tables.execution_id, tables.seq, CHANGED, message))


def _stored(row: Row) -> Linked:
    body = _body(row)
    return Linked(
        row["execution_id"], row["seq"], row["event_type"], body["at"], row["chain"],
        orjson.dumps(body), row["signature"],
    )  # fmt: skip


def _body(row: Row) -> Row:
    """The event that a row says it was, without its chain; no edit makes it raise."""
    try:
        data = orjson.loads(row["data"])
    except orjson.JSONDecodeError:  # A number beyond a double, which no event has.
        data = None
    return {
        "execution_id": row["execution_id"],
        "seq": row["seq"],
        "type": row["event_type"],
        "at": _moment(row["at"]),
        "tenant": row["tenant"],
        **{name: row[name] for name in ("step", "attempt") if row[name] is not None},
        "data": data,
    }


def _moment(text: str | None) -> str:
    """As the router wrote it, in milliseconds; an edit by less stays visible."""
    return f"{text[:-4]}Z" if text and text.endswith("000Z") else text or ""


def verify_topic(settings: CommonSettings, rules: Rules, progress: Progress) -> Verified:
    """Check all executions as they stand in the topic; raises Failure where it cannot be read.

    What is known of each execution lies in a temporary file.
    """
    from confluent_kafka import KafkaException

    name = clients.topic_name(settings, EVENTS)
    numbers = range(broker.partitions(settings, EVENTS))
    result = Verified("topic")
    states = _States()
    try:
        begins = restore.watermarks(settings, name, numbers)
        for message in restore.read_to_end(settings, name, numbers):
            begin, _ = begins[message.partition() or 0]
            _take(result, states, message, replace(rules, may_begin_late=begin > 0))
            if result.events % 256 == 0:
                progress.at(result.events)
    except KafkaException as error:
        raise broker.refused(settings, name, error) from None
    for known in states.all():
        result.close(known)
    return result


def verify_one_in_topic(settings: CommonSettings, ident: str, rules: Rules) -> Verified:
    """Check one execution as it stands in the topic; raises Failure where it cannot be read."""
    from console.eventlog import EventLog
    from console.options import started_ms
    from streams.ids import route_of

    result = Verified("topic", only=Checked(ident))
    with EventLog(settings, route_of(ident), since_ms=started_ms(ident)) as log:
        rules = replace(rules, may_begin_late=log.is_truncated)
        while not log.caught_up:
            message = log.next_message(_READ_SECONDS)
            event = None if message is None else _linked(message)
            if isinstance(event, Linked) and event.execution_id == ident and result.only:
                result.events += 1
                result.add(check(result.only, event, rules))
    if result.events and result.only:
        result.close(result.only)
    return result


def _take(result: Verified, states: _States, message: Message, rules: Rules) -> None:
    result.events += 1
    event = _linked(message)
    if not isinstance(event, Linked):
        result.add(event)
        return
    known = states.get(event.execution_id)
    result.add(check(known, event, rules))
    states.put(known)


def _linked(message: Message) -> Linked | Finding:
    given: Any = message.headers()
    try:
        return linked(message.value() or b"", header(given, SIGNATURE))
    except ValueError as error:
        where = f"partition {message.partition()}, offset {message.offset()}"
        return Finding("-", 0, UNREADABLE, f"{where}: not an event ({type(error).__name__})")


class _States:
    """What is known of each execution, in a temporary file that ends with the process."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.executescript(_STATES)

    def get(self, ident: str) -> Checked:
        """What is known of it, or the state of one that nothing is known of."""
        query = "SELECT * FROM known WHERE id = ?"
        row = self._database.execute(query, (ident,)).fetchone()
        return Checked(ident) if row is None else _checked(row)

    def put(self, known: Checked) -> None:
        """Remember it."""
        self._database.execute(
            "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?, ?)",
            (
                known.execution_id, known.seq, known.chain, known.ended, known.holds_from,
                known.is_bad,
            ),
        )  # fmt: skip

    def all(self) -> Iterator[Checked]:
        """Every execution."""
        return map(_checked, self._database.execute("SELECT * FROM known"))


def _checked(row: tuple[str, int, str | None, int, int, int]) -> Checked:
    ident, seq, chain, ended, holds_from, bad = row
    return Checked(ident, seq, chain, bool(ended), holds_from, bool(bad))
