"""Sinks that are killed or frozen, servers that go away, records that cannot be stored."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.kafka import KafkaServer
from devstack.postgres import PostgresServer
from runtime.health import Health
from runtime.kafka.dead_letters import PREFIX
from runtime.kafka.dlq_limit import ALWAYS_ALLOWED
from sinks.migrate import migrate
from sinks.postgres import Batch, Database, OffsetAdvance, StalePosition
from streams.topics import EVENTS
from tests.brokers import remember
from tests.integration.sink_lab import Lab, eventually
from tests.unit.sinks.stories import Story, mixed


@pytest.fixture
def lab(kafka: str, postgres: str) -> Iterator[Lab]:
    laboratory = Lab(kafka, postgres)
    yield laboratory
    laboratory.close()


@pytest.mark.slow
def test_a_kill_between_both_commits_leaves_no_duplicate(lab: Lab) -> None:
    values = mixed([Story(n, steps=2).run() for n in range(60)])
    lab.send(values)
    # Dies at the first moment at which Kafka would be told what Postgres has just committed.
    crash = (
        "import sinks.source\n"
        "def die(self, positions, **k):\n"
        "    if any(positions.values()): os._exit(9)\n"
        "sinks.source.Source.commit = die"
    )
    before = 0
    for _ in range(2):
        process = lab.process(crash)
        assert process.wait(60) == 9
        now = lab.count("execution_events")
        assert now >= before
        before = now
    assert before > 0
    with lab.sink():
        eventually(lambda: lab.count("execution_events") == len(values), "the rest", 60)
    reference = lab.database()
    with lab.sink(reference):
        eventually(lambda: lab.count("execution_events", reference) == len(values), "again")
    assert lab.content() == lab.content(reference)
    assert lab.records(f"{EVENTS.name}.dlq") == []


def test_kill_9_at_any_moment_and_a_clean_stop(lab: Lab) -> None:
    values = mixed([Story(n, steps=3).run() for n in range(300)])
    lab.send(values[: len(values) // 2])
    process = lab.process()
    try:
        eventually(lambda: lab.count("execution_events") > 0, "it works", 30)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        lab.send(values[len(values) // 2 :])
        process = lab.process()
        eventually(lambda: lab.count("execution_events") == len(values), "the rest", 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(10)
    assert lab.query("SELECT count(*) FROM execution.executions WHERE status = 'completed'") == [
        (300,)
    ]
    assert lab.count("attempts") == 900


def test_what_cannot_be_stored_becomes_a_dead_letter_and_the_batch_goes_on(lab: Lab) -> None:
    good = [Story(n).run() for n in range(20)]
    values = mixed(good)
    poison: list[tuple[bytes | None, str]] = [
        (b"\xff\xfe not json", "not_json"),
        (None, "not_json"),
        (b"[" * 5_000, "not_json"),
        (b'{"execution_id": 1}', "invalid"),
        (good[0].values[0].replace(b'"seq":1', b'"seq":0'), "invalid"),
        (good[0].values[0].replace(good[0].id.encode(), b"../../etc/passwd"), "invalid"),
        # Well-formed, but no enum of the database knows the class.
        (Story(100, sla_class="glacial").values[0], "refused_by_database"),
        (Story(101, priority=2**40).values[0], "refused_by_database"),
    ]
    half = len(values) // 2
    with lab.sink():
        lab.send(values[:half])
        for value, _ in poison:
            lab.put(EVENTS.name, value, key=b"0000000a", headers=[("who", b"me"), ("x", b"\xff")])
        lab.send(values[half:])
        eventually(lambda: lab.count("execution_events") == len(values), "the good ones")
        eventually(lambda: lab.count("execution_dlq") == len(poison), "the letters archived")
    letters = lab.records(f"{EVENTS.name}.dlq")
    assert sorted((m.value() or b"") for m in letters) == sorted(v or b"" for v, _ in poison)
    expected = {(value or b"<none>"): error_class for value, error_class in poison}
    sources = {(m.partition(), m.offset()): m for m in lab.records(EVENTS.name)}
    for letter in letters:
        headers: dict[str, Any] = dict(letter.headers() or [])
        assert headers[f"{PREFIX}class"].decode() == expected[letter.value() or b"<none>"]
        assert headers["who"] == b"me" and "x" not in headers
        source = sources[letter.partition(), int(headers[f"{PREFIX}offset"])]
        assert (source.key(), source.value()) == (letter.key(), letter.value())
    assert lab.query("SELECT DISTINCT source_topic FROM execution.execution_dlq") == [
        (lab.topic(EVENTS.name),)
    ]
    assert lab.count("executions") == len(good)


def test_a_zombie_stores_nothing(lab: Lab) -> None:
    place = ("some.topic", 0)
    rows = Story(1).run().rows()
    ours, zombie = Database(lab.dsn), Database(lab.dsn)
    try:
        assert ours.positions([place]) == zombie.positions([place]) == {place: 0}

        def batch(first: int, last: int, expected: int) -> Batch:
            found = [(place, first + i, row) for i, row in enumerate(rows[first:last])]
            return Batch(events=found, advances={place: OffsetAdvance(expected, last)})

        refused: list[Any] = []
        ours.write(batch(0, 3, 0), refused.extend)
        with pytest.raises(StalePosition):
            zombie.write(batch(0, 5, 0), refused.extend)
        assert lab.count("execution_events") == 3
        assert zombie.positions([place]) == {place: 3}
        zombie.write(batch(3, 5, 3), refused.extend)
        with pytest.raises(StalePosition):
            ours.write(batch(3, 6, 3), refused.extend)
        assert lab.count("execution_events") == 5
        assert refused == []
    finally:
        ours.close()
        zombie.close()


def test_two_sinks_share_and_a_third_takes_over(lab: Lab) -> None:
    values = mixed([Story(n, 2).run() for n in range(200)])
    third = len(values) // 3
    with lab.sink():
        lab.send(values[:third])
        with lab.sink():
            lab.send(values[third : 2 * third])
            eventually(lambda: lab.count("execution_events") >= third, "shared", 60)
        lab.send(values[2 * third :])
        eventually(lambda: lab.count("execution_events") == len(values), "taken over", 60)
    assert lab.query("SELECT count(*) FROM execution.executions WHERE status = 'completed'") == [
        (200,)
    ]


def test_a_database_that_goes_away_is_waited_for(lab: Lab) -> None:
    values = mixed([Story(n).run() for n in range(40)])
    health = Health(("kafka", "database"))
    stop = threading.Event()

    def cut() -> None:
        # Every session of the sink ends again and again, as an immediate restart would end it.
        with psycopg.connect(lab.server, autocommit=True) as connection:
            while not stop.wait(0.15):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'runstream-sink'"
                )

    cutter = threading.Thread(target=cut)
    with lab.sink(health=health):
        cutter.start()
        try:
            for start in range(0, len(values), 20):
                lab.send(values[start : start + 20])
                stop.wait(0.1)
        finally:
            stop.set()
            cutter.join(10)
        eventually(lambda: lab.count("execution_events") == len(values), "all stored", 60)
        eventually(lambda: health.response("/readyz")[0] == 200, "ready again")
    assert lab.count("executions") == 40
    assert lab.records(f"{EVENTS.name}.dlq") == []


def test_missing_tables_are_waited_for(lab: Lab) -> None:
    bare = lab.database(migrated=False)
    health = Health(("kafka", "database"))
    lab.send(Story(1).run().values)
    with lab.sink(bare, health=health):
        eventually(
            lambda: "runstream migrate" in str(health.response("/readyz")[1]), "it says what to do"
        )
        migrate(bare)
        eventually(lambda: lab.count("executions", bare) == 1, "it goes on by itself")


def test_a_letter_that_cannot_be_written_holds_the_position(lab: Lab) -> None:
    dlq = lab.topic(f"{EVENTS.name}.dlq")
    lab.admin.delete_topics([dlq])[dlq].result(30)
    eventually(lambda: dlq not in lab.admin.list_topics(timeout=10).topics, "the topic is gone")
    story = Story(1)
    lab.put(EVENTS.name, b"poison", key=story.id[-8:].encode())
    lab.send(story.values)
    health = Health(("kafka", "database"))
    with lab.sink(health=health):
        eventually(
            lambda: "dead letter is not confirmed" in str(health.response("/readyz")[1]),
            "it says what it waits for",
        )
        assert lab.count("execution_events") == 0
        lab.create([dlq])
        eventually(lambda: lab.count("execution_events") == 1, "it goes on by itself", 60)
        eventually(lambda: health.response("/readyz")[0] == 200, "ready again")
    assert [letter.value() for letter in lab.records(f"{EVENTS.name}.dlq")] == [b"poison"]


def test_a_flood_of_poison_stops_the_sink_instead_of_filling_the_dead_letters(lab: Lab) -> None:
    for number in range(ALWAYS_ALLOWED + 1_500):
        lab.put(EVENTS.name, b"%d" % number, partition=0)
    lab.producer.flush(10)
    health = Health(("kafka", "database"))
    with lab.sink(health=health):
        eventually(lambda: "stopped consuming" in str(health.response("/readyz")[1]), "it stops")
        dead_letters = len(lab.records(f"{EVENTS.name}.dlq"))
        assert 0 < dead_letters <= ALWAYS_ALLOWED
        assert health.response("/healthz")[0] == 200
    (moved,) = lab.query(
        "SELECT sum(next_offset)::int FROM execution.sink_offsets "
        f"WHERE topic = '{lab.topic(EVENTS.name)}'"
    )
    assert moved == (dead_letters,)


def test_a_locked_table_is_waited_for(lab: Lab) -> None:
    story = Story(1).run()
    with psycopg.connect(lab.dsn) as holder:
        holder.execute("LOCK TABLE execution.executions IN ACCESS EXCLUSIVE MODE")
        with lab.sink():
            lab.send(story.values)
            eventually(lambda: _waits_for_a_lock(lab), "the sink waits")
            assert lab.count("execution_events") == 0
            holder.rollback()
            eventually(lambda: lab.count("execution_events") == len(story.values), "it goes on")


def _waits_for_a_lock(lab: Lab) -> bool:
    waiting = lab.query(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'runstream-sink' "
        "AND wait_event_type = 'Lock'"
    )
    return bool(waiting)


def test_a_database_that_crashes_again_and_again(lab: Lab, tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    server.start()
    try:
        migrate(server.dsn)
        stories = [Story(n, 2).run() for n in range(90)]
        with lab.sink(server.dsn):
            for start in (0, 30, 60):
                lab.send(mixed(stories[start : start + 30]))
                if start:
                    server.kill()
                    server.start()
            total = sum(len(story.values) for story in stories)
            eventually(lambda: lab.count("execution_events", server.dsn) == total, "all stored", 60)
        done = "SELECT count(*) FROM execution.executions WHERE status = 'completed'"
        assert lab.query(done, server.dsn) == [(90,)]
    finally:
        server.stop()


@pytest.mark.slow
def test_a_broker_that_crashes(
    postgres: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = KafkaServer(tmp_path / "kafka")
    server.start()
    remember(server.client_options)
    try:
        lab = Lab(server.bootstrap_servers, postgres)
        stories = [Story(n).run() for n in range(40)]
        health = Health(("kafka", "database"))
        with lab.sink(health=health):
            lab.send(mixed(stories[:20]))
            eventually(lambda: lab.count("executions") == 20, "the first half")
            eventually(lambda: health.response("/readyz")[0] == 200, "ready")
            server.kill()
            eventually(lambda: "kafka" in str(health.response("/readyz")[1]), "it says so", 60)
            assert health.response("/healthz")[0] == 200
            server.start()
            lab.send(mixed(stories[20:]))
            total = sum(len(story.values) for story in stories)
            eventually(lambda: lab.count("execution_events") == total, "the rest", 60)
            eventually(lambda: health.response("/readyz")[0] == 200, "ready again", 60)
        assert capfd.readouterr().err.count("waiting for kafka") == 1
    finally:
        server.stop()
