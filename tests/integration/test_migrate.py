"""Migrations on a real Postgres."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from console.cli import main
from console.exits import Exit
from sinks.migrate import ChangedMigration, migrate, shipped
from streams.lifecycle import STATUS_AFTER, STEP_STATUS_AFTER


def test_twice_and_at_the_same_time(database: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(migrate, [database] * 6))
    everything = [migration.version for migration in shipped()]
    assert len(everything) >= 4
    assert sorted(results, key=len)[:-1] == [[]] * 5
    assert max(results, key=len) == everything
    assert migrate(database) == []


def test_a_changed_file_is_refused_and_a_new_one_is_applied(database: str) -> None:
    migrate(database)
    files = shipped()
    with pytest.raises(ChangedMigration, match=files[1].version):
        migrate(database, [files[0], replace(files[1], sql=files[1].sql + "-- edited"), *files[2:]])
    unix = [replace(file, sql=file.sql.replace("\n", "\r\n")) for file in files]
    more = replace(files[0], version="9999_more", sql="CREATE TABLE execution.more (n integer)")
    assert migrate(database, [*unix, more]) == ["9999_more"]


def test_a_failing_file_leaves_nothing_behind(database: str) -> None:
    files = shipped()
    wrong = replace(
        files[0], version="9999_wrong", sql="CREATE TABLE execution.x (n integer); oops"
    )
    with pytest.raises(psycopg.errors.SyntaxError):
        migrate(database, [*files, wrong])
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT to_regnamespace('execution')").fetchone()
    assert row == (None,)
    assert migrate(database) == [file.version for file in files]


def test_the_reference_schema_is_all_there(database: str) -> None:
    migrate(database)
    with psycopg.connect(database) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'execution'"
        ).fetchall()
        labels = connection.execute(
            "SELECT t.typname, e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid"
        ).fetchall()
        policies = connection.execute("SELECT * FROM execution.timeout_policies").fetchall()
    assert {name for (name,) in tables} >= {
        "executions", "execution_steps", "approvals", "execution_events", "execution_queue",
        "execution_dlq", "execution_locks", "timeout_policies", "attempts", "output", "assets",
        "audit", "sink_offsets",
    }  # fmt: skip
    found: dict[str, set[str]] = {}
    for name, label in labels:
        found.setdefault(name, set()).add(label)
    assert found["execution_status"] == set(STATUS_AFTER.values()) | {"approved", "queued"}
    assert found["step_status"] == set(STEP_STATUS_AFTER.values()) | {"pending"}
    assert found["execution_mode"] == {"immediate", "background"}
    assert found["sla_class"] == {"fast", "medium", "long"}
    assert found["approval_state"] >= {"pending", "approved", "rejected", "expired"}
    assert len(policies) == 9
    assert ("medium", "deploy", 30, 60, 90, 1800, 3) in policies


def test_the_command(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    assert main(["migrate", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["applied"] == [file.version for file in shipped()]
    assert main(["migrate"]) == Exit.OK
    assert "up to date" in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")
    assert main(["migrate", "--wait", "0.6"]) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert said.count("waiting for Postgres") == 1
    assert "hunter2" not in said


def test_rows_of_an_earlier_version_stay_valid(database: str) -> None:
    """The tables of the first release, filled, then brought up to date in one go."""
    files = shipped()
    migrate(database, [file for file in files if file.version < "0005"])
    ident = "01a1f7c1-4180-8a94-9234-56783662e997"
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO execution.execution_steps (execution_id, step, tenant, status, "
            "updated_at, last_seq) VALUES (%s, 's', 't', 'running', now(), 1)", [ident]
        )  # fmt: skip
        connection.execute(
            "INSERT INTO execution.execution_queue (execution_id, step, attempt, tenant, status, "
            "last_seq) VALUES (%s, 's', 1, 't', 'dispatched', 1)", [ident]
        )  # fmt: skip
    assert migrate(database) == [file.version for file in files if file.version >= "0005"]
    with psycopg.connect(database) as connection:
        for status in ("cancelling", "waiting", "running"):
            connection.execute("UPDATE execution.execution_queue SET status = %s", [status])
        connection.execute("UPDATE execution.execution_steps SET status = 'cancelling'")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("UPDATE execution.execution_queue SET status = 'succeeded'")
