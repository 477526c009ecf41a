"""What the sink makes of events, with a real broker and a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from sinks.derive import store_events
from streams.reports import OutputChunk
from streams.topics import EVENTS, OUTPUT
from tests.brokers import client_options
from tests.integration.sink_lab import Lab, eventually
from tests.unit.sinks.stories import Story, decoded, execution_id, mixed, troubled


@pytest.fixture
def lab(kafka: str, postgres: str) -> Iterator[Lab]:
    laboratory = Lab(kafka, postgres)
    yield laboratory
    laboratory.close()


def stored(lab: Lab, number: int) -> bool:
    """Whether exactly that many events are in the database."""
    return lab.count("execution_events") == number


def test_events_become_rows(lab: Lab) -> None:
    stories = [Story(n, steps=2).run() for n in range(50)] + [troubled(n) for n in range(50, 60)]
    values = mixed(stories)
    with lab.sink():
        lab.send(values)
        eventually(lambda: lab.count("execution_events") == len(values), "all events stored")
    assert lab.query("SELECT count(DISTINCT event_id) FROM execution.execution_events") == [
        (len(values),)
    ]
    assert lab.query(
        "SELECT count(*) FROM (SELECT 1 FROM execution.execution_events GROUP BY execution_id "
        "HAVING max(seq) <> count(*) OR min(seq) <> 1) AS gaps"
    ) == [(0,)]
    assert lab.query(
        "SELECT status::text, count(*) FROM execution.executions GROUP BY 1 ORDER BY 1"
    ) == [("completed", 50), ("partial", 10)]
    assert lab.count("execution_queue") == 0
    assert lab.query("SELECT DISTINCT tool, step_index FROM execution.execution_steps "
                     "WHERE step IN ('s1[0]', 's1[1]')") == [("noop", 1)]  # fmt: skip
    assert lab.query(
        "SELECT DISTINCT error_class, error_message FROM execution.executions "
        "WHERE status = 'partial'"
    ) == [("exit_code", "s2: exit code 2")]


def test_an_empty_database_is_filled_from_the_topics_to_the_same_content(lab: Lab) -> None:
    values = mixed([troubled(n) for n in range(20)])
    with lab.sink():
        # In pieces, so that the first database sees other batches than the second.
        for start in range(0, len(values), 97):
            lab.send(values[start : start + 97])
            sent = min(start + 97, len(values))
            eventually(partial(stored, lab, sent), "this piece stored")
    second = lab.database()
    with lab.sink(second):
        eventually(lambda: lab.count("execution_events", second) == len(values), "all stored again")
    assert lab.content() == lab.content(second)


def test_nul_nan_and_future_types(lab: Lab) -> None:
    story = Story(1).dispatch("s0").claim("s0")
    story.succeed("s0", output={"text": "a\x00b", "k\x00": ["\x00"]})
    story.add("execution.invented_later", why="nobody knows")
    story.end()
    values = list(story.values)
    nan = Story(2).values[0].replace(b'"priority":1', b'"priority":NaN')
    with lab.sink():
        lab.send(values)
        lab.put(EVENTS.name, nan, key=b"00000001")
        future = [("ce_type", b"runstream.step.started.v2")]
        lab.send([Story(3).values[0]], headers=future)
        chunk = OutputChunk(
            execution_id=story.id, step="s0", attempt=1, stream="stdout", index=0, offset=0,
            text="one\x00two", tenant="acme",
        )  # fmt: skip
        for _ in range(2):
            lab.put(OUTPUT.name, chunk.model_dump_json().encode())
        lab.producer.flush(10)
        eventually(lambda: lab.count("execution_dlq") == 2, "both are dead letters")
        eventually(lambda: lab.count("output") == 1, "output stored once")
        eventually(lambda: lab.count("execution_events") == len(values), "all stored")
    assert lab.query("SELECT output_data FROM execution.execution_steps") == [
        ({"text": "a\\u0000b", "k\\u0000": ["\\u0000"]},)
    ]
    assert lab.query("SELECT text FROM execution.output") == [("one\\u0000two",)]
    assert sorted(lab.query("SELECT error_class FROM execution.execution_dlq")) == [
        ("not_json",),
        ("unknown_version",),
    ]


def test_duplicates_and_aborted_transactions_leave_no_trace(lab: Lab) -> None:
    story = troubled(7)
    with lab.sink():
        lab.send(story.values)
        eventually(lambda: lab.count("execution_events") == len(story.values), "stored")
        before = lab.content()
        lab.send(story.values[2:9])
        producer = Producer({**client_options(lab.kafka), "transactional.id": lab.prefix})
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(lab.topic(EVENTS.name), Story(8).values[0], partition=0)
        producer.flush(10)
        producer.abort_transaction(20)
        lab.send([*Story(9).values, *story.values])
        eventually(lambda: lab.count("executions") == 2, "what came after the duplicates")
        end = len(lab.records(EVENTS.name))
        assert end > 0
        eventually(lambda: _stands_at_the_end(lab), "all read")
    after = lab.content()
    for table, rows in before.items():
        kept = [row for row in after[table] if execution_id(9) not in row[0]]
        assert kept == rows, table


def _stands_at_the_end(lab: Lab) -> bool:
    last = {}
    for message in lab.records(EVENTS.name):
        last[message.partition()] = (message.offset() or 0) + 1
    rows = lab.query(
        "SELECT partition, next_offset FROM execution.sink_offsets "
        f"WHERE topic = '{lab.topic(EVENTS.name)}'"
    )
    stored = dict(rows)
    return all(stored.get(partition, 0) >= following for partition, following in last.items())


def test_a_late_event_gives_the_rows_it_would_have_given_in_time(lab: Lab) -> None:
    story = troubled(3)
    rows = story.rows()
    late = lab.database()
    with psycopg.connect(lab.dsn) as straight:
        _prepare(straight)
        store_events(straight, rows)
    with psycopg.connect(late) as crooked:
        _prepare(crooked)
        store_events(crooked, rows[3:9])
        store_events(crooked, [*rows[1:3], *rows[9:]])
        store_events(crooked, rows[:1])
    assert lab.content() == lab.content(late)


def _prepare(connection: psycopg.Connection[Any]) -> None:
    from sinks.tables import TABLES

    for table in TABLES:
        connection.execute(table.incoming.encode())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11])
def test_however_the_log_is_cut_the_tables_are_the_same(lab: Lab, size: int) -> None:
    rows = [decoded(value) for value in mixed([troubled(1), Story(2, 2).run(), troubled(3)])]
    whole = lab.database()
    for dsn, step in ((whole, len(rows)), (lab.dsn, size)):
        with psycopg.connect(dsn) as connection:
            _prepare(connection)
            for start in range(0, len(rows), step):
                store_events(connection, rows[start : start + step])
    assert lab.content() == lab.content(whole)
