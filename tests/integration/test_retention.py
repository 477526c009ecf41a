"""Retention on a real Postgres: what goes, what stays, and that the chains of the rest hold."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg
import pytest
from pydantic import SecretStr

from console.cli import main
from console.exits import Exit
from runtime import logs
from runtime.retention import Retention, rules
from runtime.settings import SinkSettings
from sinks import retention
from sinks.migrate import migrate
from sinks.postgres import Batch, Database
from sinks.retention_schedule import RetentionThread
from streams.ids import mint_execution_id
from tests.stack_environment import without_stack
from tests.unit.console.chains import chained
from tests.unit.sinks.stories import Story, decoded, troubled

Capture = pytest.CaptureFixture[str]
NOW = datetime.now(UTC)
POLICY = {
    "default": {"output_days": 10, "attempts_days": 20, "executions_days": 40, "events_days": 80},
    "dead_letters_days": 40,
}
TABLES = ("output", "attempts", "execution_steps", "executions", "execution_events", "audit",
          "approvals", "execution_dlq")  # fmt: skip


def aged(story: Story, days: float, number: int, tenant: str = "acme") -> list[bytes]:
    """The events of a story as of an execution that began so many days ago."""
    begun = NOW - timedelta(days=days)
    ident = mint_execution_id(f"{number:08x}", int(begun.timestamp() * 1_000), number)
    values = []
    for seq, value in enumerate(story.values):
        event = orjson.loads(value)
        at = (begun + timedelta(seconds=seq)).isoformat()
        event |= {"execution_id": ident, "tenant": tenant, "at": at}
        values.append(orjson.dumps(event))
    return chained(values)


def store(dsn: str, *logs_of: list[bytes]) -> list[str]:
    """Store events as the sink does, and three chunks of output for each execution; their ids."""
    with closing(Database(dsn)) as database:
        rows = [decoded(value) for values in logs_of for value in values]
        database.write(Batch([(("t", 0), n, row) for n, row in enumerate(rows)]), print)
    ids = [str(orjson.loads(values[0])["execution_id"]) for values in logs_of]
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO execution.output SELECT e.execution_id, 's0', 1, 'stdout', n, n, e.tenant,"
            " 'text', e.created_at FROM execution.executions AS e, generate_series(0, 2) AS n "
            "WHERE e.execution_id = ANY(%s::uuid[])",
            [ids],
        )
    return ids


def left(dsn: str) -> dict[str, set[str]]:
    """The executions that have rows, by table."""
    with psycopg.connect(dsn) as connection:
        return {
            table: {
                row[0]
                for row in connection.execute(
                    f"SELECT DISTINCT execution_id::text FROM execution.{table}".encode()
                )
            }
            for table in TABLES
        }


def apply(dsn: str, policy: dict[str, Any] = POLICY, **options: Any) -> list[retention.Deleted]:
    wanted = rules(Retention.model_validate(policy), NOW)
    with retention.session(dsn) as connection:
        return list(retention.run(connection, wanted, lambda: False, **options))


def content(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as connection:
        return {
            table: connection.execute(
                f"SELECT to_jsonb(t)::text FROM execution.{table} AS t ORDER BY 1".encode()
            ).fetchall()
            for table in TABLES
        }


@pytest.fixture
def tables(database: str) -> Iterator[str]:
    """A database whose events nobody has signed, and no stack whose keys would be asked about."""
    migrate(database)
    with without_stack(), pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATABASE_URL", database)
        yield database


def test_each_class_goes_at_its_age_and_living_executions_stay(
    tables: str, capsys: Capture
) -> None:
    ages = (5, 15, 30, 60, 100)
    ids = store(tables, *(aged(troubled(n), days, n) for n, days in enumerate(ages)))
    living = Story(9).add("execution.queued").add("execution.started").dispatch("s0").claim("s0")
    (alive,) = store(tables, aged(living, 200, 9))
    with psycopg.connect(tables) as connection:
        for n, days in enumerate((10, 50)):
            connection.execute(
                'INSERT INTO execution.execution_dlq (topic, partition, "offset", at, headers, '
                "execution_id) VALUES ('a.dlq', 0, %s, %s, '{}', %s)",
                [n, NOW - timedelta(days=days), str(n)],
            )
    before = content(tables)
    planned = apply(tables, dry=True)
    assert content(tables) == before
    done = apply(tables)
    after = left(tables)
    assert after["output"] == {ids[0], alive}
    assert after["attempts"] == {*ids[:2], alive}
    assert after["executions"] == after["execution_steps"] == {*ids[:3], alive}
    assert after["execution_events"] == {*ids[:4], alive}
    assert after["audit"] == set(ids[:4])
    assert after["execution_dlq"] == {"0"}
    # What a dry run said is what went.
    gone = sum(len(before[name]) - len(content(tables)[name]) for name in TABLES)
    assert sum(one.rows for one in done) == gone
    assert [(one.rule.rows, one.rows) for one in planned] == [
        (one.rule.rows, one.rows) for one in done
    ]
    assert all(one.finished and one.bytes > 0 for one in done)
    # Nothing more is found, and nothing is wrong with what is left.
    assert sum(one.rows for one in apply(tables)) == 0
    assert main(["audit", "verify", "--all", "--source", "postgres", "--json"]) == Exit.OK
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["executions"], result["bad"]) == (5, 0)


def test_a_run_that_stops_anywhere_is_finished_by_the_next(
    tables: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(retention, "_ROWS", 7)
    monkeypatch.setattr(retention, "_PAGE", 2)
    store(tables, *(aged(troubled(n), 100, n) for n in range(3)))
    wanted = Retention.model_validate(POLICY)
    runs = 0
    while any(left(tables).values()):
        asked = 0

        def stopped(limit: int = 3 + runs) -> bool:
            nonlocal asked
            asked += 1
            return asked > limit

        with retention.session(tables) as connection:
            list(retention.run(connection, rules(wanted, NOW), stopped))
        assert main(["audit", "verify", "--all", "--source", "postgres", "--json"]) == Exit.OK
        runs += 1
        assert runs < 50
    assert runs > 3
    with psycopg.connect(tables) as connection:
        total = connection.execute(
            "SELECT sum(deleted_rows), bool_or(NOT finished) FROM execution.retention_runs"
        ).fetchone()
    assert total is not None and total[0] > 60 and total[1]
    capsys.readouterr()


def test_one_runner_at_a_time_and_a_tenant_with_its_own_age(tables: str, capsys: Capture) -> None:
    acme, bank = store(
        tables, aged(Story(1).run(), 60, 1), aged(Story(2).run(), 60, 2, tenant="bank")
    )
    with retention.session(tables):
        assert main(["retention", "run", "--older-than", "30d"]) == Exit.FAILED
        assert "another process applies" in capsys.readouterr().err
    apply(tables, {**POLICY, "tenants": {"bank": {"executions_days": None, "events_days": None}}})
    assert left(tables)["executions"] == {bank}
    assert left(tables)["execution_events"] == {acme, bank}


def test_old_records_that_are_read_again_bring_rows_that_the_next_run_deletes(tables: str) -> None:
    values = aged(troubled(1), 100, 1)
    store(tables, values)
    apply(tables)
    assert not any(left(tables).values())
    # The sink reads the topic from its beginning, because somebody emptied its positions.
    (ident,) = store(tables, values)
    assert left(tables)["executions"] == {ident}
    apply(tables)
    assert not any(left(tables).values())


def test_the_command_says_what_goes_and_keeps_the_log(
    tables: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ident,) = store(tables, aged(troubled(1), 30, 1))
    assert main(["retention", "show"]) == Exit.OK
    assert "everything is kept" in capsys.readouterr().err
    assert main(["retention", "run", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == []
    for wrong in (
        ["--older-than", "3d"],
        ["--older-than", "30d", "--only", "events"],
        ["--older-than", "soon"],
        ["--older-than", "30d", "--before", "2026-01-01"],
    ):
        assert main(["retention", "run", *wrong]) == Exit.USAGE
        assert len(capsys.readouterr().err.strip().splitlines()) <= 2
    assert left(tables)["executions"] == {ident}
    assert main(["retention", "run", "--older-than", "20d", "--dry-run"]) == Exit.OK
    assert "would go" in capsys.readouterr().out
    assert left(tables)["output"] == {ident}
    assert main(["retention", "run", "--older-than", "20d", "--json"]) == Exit.OK
    said = {one["class"]: one["rows"] for one in json.loads(capsys.readouterr().out)}
    assert said["output"] == 3 and said["executions"] > 1 and "events" not in said
    assert left(tables)["executions"] == set() and left(tables)["execution_events"] == {ident}
    # The trail is made from the log.
    assert main(["audit", "show", ident, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["ended"]
    monkeypatch.setenv("RUNSTREAM_RETENTION", json.dumps(POLICY))
    assert main(["retention", "show", "--json"]) == Exit.OK
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["rules"]) == 5
    assert {row["class"] for row in shown["runs"]} == {"output", "attempts", "executions"}


def test_the_sink_applies_the_policy_by_itself_while_rows_are_written(tables: str) -> None:
    store(tables, *(aged(troubled(n), 100, n) for n in range(3)))
    settings = SinkSettings(
        database_url=SecretStr(tables), retention=Retention.model_validate(POLICY)
    )
    stop = threading.Event()
    thread = RetentionThread(settings, logs.configure(settings, "sink"), stop)
    thread.start()
    kept: set[str] = set()
    deadline = time.monotonic() + 60
    while (time.monotonic() < deadline and left(tables)["executions"] != kept) or len(kept) < 4:
        number = 10 + len(kept)
        kept.update(store(tables, aged(troubled(number), 1, number)))
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert left(tables)["executions"] == left(tables)["execution_events"] == kept
