"""SQL and the asset inventory, on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from drivers.context import Failure, Outcome, Stop, Success
from drivers.resources import Resources
from tests.driver_kit import Run, command, settings
from toolmeta.invocation import Invocation

Body = Callable[[Resources], Awaitable[Any]]


def within(dsn: str, body: Body) -> Any:
    async def inside() -> Any:
        opened = Resources(
            settings(
                assets_database_url=SecretStr(dsn),
                sql_database_url=SecretStr(dsn),
                allow_private_addresses=True,
            )
        )
        try:
            return await body(opened)
        finally:
            await opened.close()

    return asyncio.run(inside())


def query(dsn: str, **arguments: Any) -> Outcome:
    async def body(opened: Resources) -> Outcome:
        return await Run(opened, sql_call(**arguments)).outcome()

    outcome: Outcome = within(dsn, body)
    return outcome


def sql_call(**arguments: Any) -> Invocation:
    return Invocation("psql", "sql", call="query", arguments=arguments)


def test_rows_are_json_and_values_are_bound(postgres: str) -> None:
    statement = (
        "select %s::text as word, 1.5::numeric as n, now() as at, null as nothing, "
        "'{\"a\": [1]}'::jsonb as doc, 'NaN'::float8 as nan, '\\x00ff'::bytea as raw"
    )
    outcome = query(postgres, sql=statement, values=["'; drop table x; --"])
    assert isinstance(outcome, Success)
    row = outcome.output["rows"][0]
    assert row["word"] == "'; drop table x; --"
    assert (row["n"], row["nothing"], row["doc"]) == (1.5, None, {"a": [1]})
    assert (row["nan"], row["raw"]) == ("nan", "AP8=")
    assert row["at"].endswith("+00:00")
    assert outcome.output["row_count"] == 1
    assert outcome.output["columns"][0] == "word"


def test_rows_are_limited_without_fetching_them_all(postgres: str) -> None:
    outcome = query(postgres, sql="select generate_series(1, 100000000) as g", max_rows=5)
    assert isinstance(outcome, Success)
    assert outcome.output["truncated"] is True
    assert [row["g"] for row in outcome.output["rows"]] == [1, 2, 3, 4, 5]


def test_large_rows_are_limited_by_size(postgres: str) -> None:
    statement = "select repeat('x', 100000) as x from generate_series(1, 50)"
    outcome = query(postgres, sql=statement)
    assert isinstance(outcome, Success)
    rows = outcome.output["rows"]
    assert outcome.output["truncated"] is True and 35 < len(rows) < 50
    assert outcome.output["truncated_fields"] == {"rows": {"kept": len(rows), "of": None}}


def test_read_only_unless_told(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table things (id int)")
        connection.execute(
            "create function sneak() returns int language sql as "
            "'insert into things values (9) returning id'"
        )
    refused = query(database, sql="insert into things values (1)")
    sneaky = query(database, sql="select sneak()")
    written = query(
        database,
        sql="insert into things select g from generate_series(1, 3) g where g > %(least)s",
        values={"least": 1},
        write=True,
    )
    returned = query(database, sql="delete from things returning id", write=True)
    assert isinstance(refused, Failure)
    assert refused.error_class == "invalid_parameters"
    assert isinstance(sneaky, Failure)
    assert (sneaky.error_class, sneaky.transient) == ("database", False)
    assert "read-only" in sneaky.message
    assert isinstance(written, Success)
    assert written.output["row_count"] == 2
    assert isinstance(returned, Success)
    assert returned.output["rows"] == [{"id": 2}, {"id": 3}]


@pytest.mark.parametrize(
    ("statement", "write"),
    [
        ("select 1; select 2", False),
        ("select 1; drop table x", True),
        ("insert into x values (1); commit; drop table x", True),
        ("copy (select 1) to program 'touch {canary}'", False),
        ("/* select */ copy (select 1) to program 'touch {canary}'", True),
        ("-- select\ncopy (select 1) to program 'touch {canary}'", True),
        ("do $$ begin perform 1; end $$", True),
        ("set session characteristics as transaction read write", False),
        ("", False),
        ("commit", True),
    ],
)
def test_what_it_does_not_run(postgres: str, tmp_path: Path, statement: str, write: bool) -> None:
    canary = tmp_path / "canary"
    outcome = query(postgres, sql=statement.format(canary=canary), write=write)
    assert isinstance(outcome, Failure)
    assert outcome.error_class in ("invalid_parameters", "database")
    assert not canary.exists()


def test_errors_have_classes(postgres: str) -> None:
    wrong = query(postgres, sql="select * from no_such_table")
    nowhere = query(postgres, sql="select 1", host="127.0.0.1", port=1, database="x", user="y")
    unnamed = query(postgres, sql="select 1", host="no-such-host.invalid", database="x")
    absent = query(postgres, sql="select 1", database="no_such_database")
    found = {one.error_class for one in (wrong,) if isinstance(one, Failure)}
    assert found == {"database"}
    assert isinstance(nowhere, Failure)
    assert (nowhere.error_class, nowhere.transient) == ("connection_refused", True)
    assert isinstance(unnamed, Failure)
    assert unnamed.error_class == "unreachable"
    assert isinstance(absent, Failure)
    assert absent.error_class == "not_found"


def test_the_server_stops_a_slow_statement_by_itself(postgres: str) -> None:
    async def body(opened: Resources) -> Outcome:
        run = Run(
            opened, sql_call(sql="select pg_sleep(600)"), command=command(timeout_seconds=0.1)
        )
        return await run.outcome()

    outcome = within(postgres, body)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "no_answer"


def test_cancel_ends_the_statement_on_the_server(postgres: str) -> None:
    mark = "select pg_sleep(600), 'cancel me' as canary"

    def running() -> bool:
        with psycopg.connect(postgres) as connection:
            rows = connection.execute(
                "select 1 from pg_stat_activity where query = %s and state = 'active'", (mark,)
            )
            return rows.fetchone() is not None

    async def body(opened: Resources) -> dict[str, Any]:
        return await Run(opened, sql_call(sql=mark)).cancelled(running)

    evidence = within(postgres, body)
    assert evidence["statement"] == "cancelled by the server and rolled back"
    assert "cancel_unconfirmed" not in evidence
    assert not running()


def test_a_cancel_that_meets_the_commit_does_not_promise_a_rollback(database: str) -> None:
    """A deferred trigger makes the COMMIT last."""
    with psycopg.connect(database) as connection:
        connection.execute("create table slow (number integer)")
        connection.execute(
            "create function wait() returns trigger language plpgsql as"
            " $$ begin perform pg_sleep(600); return null; end $$"
        )
        connection.execute(
            "create constraint trigger late after insert on slow"
            " deferrable initially deferred for each row execute function wait()"
        )

    def committing() -> bool:
        with psycopg.connect(database) as connection:
            rows = connection.execute(
                "select 1 from pg_stat_activity where query = 'COMMIT' and state = 'active'"
            )
            return rows.fetchone() is not None

    async def body(opened: Resources) -> Stop:
        run = Run(opened, sql_call(sql="insert into slow values (1)", write=True))
        await run.cancelled(committing)
        return run.context.stop

    stop = within(database, body)
    assert "may hold" in stop.evidence["cancel_unconfirmed"]
    assert not stop.ended and stop.effect == "possible"
    assert "statement" not in stop.evidence


@pytest.fixture
def inventory(database: str) -> str:
    folder = Path(__file__).parents[2] / "ddl"
    ddl = "".join(file.read_text() for file in sorted(folder.glob("*_asset*.sql")))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create schema execution")
        connection.execute(ddl)
    return database


async def asset(opened: Resources, call: str, tenant: str = "acme", **arguments: Any) -> Outcome:
    invocation = Invocation(f"asset_{call}", "asset", call=call, arguments=arguments)
    return await Run(opened, invocation, command=command(tenant=tenant)).outcome()


def good(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Success), outcome
    return outcome.output


def bad(outcome: Outcome) -> str:
    assert isinstance(outcome, Failure), outcome
    assert not outcome.transient
    return outcome.error_class


def test_an_asset_lives(inventory: str) -> None:
    async def body(opened: Resources) -> None:
        facts: dict[str, Any] = {
            "ip_address": "192.0.2.10",
            "asset_type": "server",
            "tags": {"role": "web"},
        }
        made = good(await asset(opened, "create", hostname="Web-01", os_version="12", **facts))
        assert made["created"] is True
        assert made["asset"]["hostname"] == "web-01"
        assert made["asset"]["os_version"] == "12"
        again = good(await asset(opened, "create", hostname="web-01", os_version="12", **facts))
        assert again == {"created": False, "asset": made["asset"]}
        other = await asset(
            opened, "create", hostname="web-01", **{**facts, "asset_type": "switch"}
        )
        assert bad(other) == "conflict"
        assert "asset_type" in other.message  # type: ignore[union-attr]

        ident = made["asset"]["asset_id"]
        changed = good(
            await asset(opened, "update", asset_id=ident, status="maintenance", version=1)
        )
        assert (changed["changed"], changed["asset"]["version"]) == (["status"], 2)
        same = good(await asset(opened, "update", asset_id=ident, status="maintenance", version=1))
        assert same["updated"] is False
        stale = await asset(opened, "update", asset_id=ident, status="active", version=1)
        assert bad(stale) == "conflict"
        renamed = good(await asset(opened, "update", asset_id=ident, new_hostname="web-02"))
        assert renamed["asset"]["hostname"] == "web-02"

        assert bad(await asset(opened, "delete", hostname="web-02")) == "invalid_parameters"
        assert bad(await asset(opened, "delete", hostname="web-01", confirm=True)) == "not_found"
        assert good(await asset(opened, "delete", hostname="web-02", confirm=True))["deleted"]
        assert good(await asset(opened, "list"))["total"] == 0

    within(inventory, body)


def test_filters_pages_and_tenants(inventory: str) -> None:
    async def body(opened: Resources) -> None:
        for number in range(7):
            tags = {"role": "web" if number % 2 else "db", "n": str(number)}
            await asset(opened, "create", hostname=f"web_{number}", tags=tags)
        await asset(opened, "create", tenant="other", hostname="web_0")

        page = good(await asset(opened, "list", limit=3, offset=5))
        assert [one["hostname"] for one in page["assets"]] == ["web_5", "web_6"]
        assert (page["count"], page["total"]) == (2, 7)
        assert good(await asset(opened, "query", tags={"role": "web"}))["total"] == 3
        assert good(await asset(opened, "query", tag_names=["role", "absent"]))["total"] == 0
        assert good(await asset(opened, "query", hostname="B_3"))["total"] == 1
        assert good(await asset(opened, "query", hostname="%"))["total"] == 0
        assert good(await asset(opened, "query", hostname="x' or '1'='1"))["total"] == 0

        theirs = good(await asset(opened, "list", tenant="other"))["assets"]
        assert [one["hostname"] for one in theirs] == ["web_0"]
        ident = theirs[0]["asset_id"]
        assert bad(await asset(opened, "update", asset_id=ident, status="x")) == "not_found"
        assert bad(await asset(opened, "delete", asset_id=ident, confirm=True)) == "not_found"
        assert bad(await asset(opened, "query", ip_address="nine")) == "invalid_parameters"

    within(inventory, body)


def test_fifty_creators_make_one_asset(inventory: str) -> None:
    async def body(opened: Resources) -> list[Outcome]:
        return await asyncio.gather(*(asset(opened, "create", hostname="one") for _ in range(50)))

    outputs = [good(outcome) for outcome in within(inventory, body)]
    assert sum(output["created"] for output in outputs) == 1


def test_an_update_loses_to_nobody_unseen(inventory: str) -> None:
    async def body(opened: Resources) -> list[Outcome]:
        await asset(opened, "create", hostname="one")
        return await asyncio.gather(
            *(asset(opened, "update", hostname="one", owner=f"o{n}", version=1) for n in range(20))
        )

    outcomes = within(inventory, body)
    assert sum(isinstance(outcome, Success) for outcome in outcomes) == 1
    assert {bad(one) for one in outcomes if isinstance(one, Failure)} == {"conflict"}
