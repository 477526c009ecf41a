"""`execution_locks` in a real Postgres: one row per asset, whatever order executions come in."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from sinks.derive import store_events
from sinks.migrate import migrate
from sinks.tables import TABLES
from tests.unit.sinks.stories import Story


def held(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT asset, execution_id::text, fencing_token FROM execution.execution_locks ORDER BY 1"
    ).fetchall()


@pytest.mark.parametrize("order", ["one, two", "two, one", "together"])
def test_the_latest_holder_is_the_one_that_is_shown(database: str, order: str) -> None:
    migrate(database)
    one = Story(1).add("lock.acquired", tokens={"web-01": 4, "db-01": 5})
    two = Story(2).add("lock.acquired", tokens={"web-01": 9})
    with psycopg.connect(database) as connection:
        for table in TABLES:
            connection.execute(table.incoming)
        batches = {
            "one, two": [one.rows(), two.rows()],
            "two, one": [two.rows(), one.rows()],
            "together": [one.rows() + two.rows()],
        }[order]
        for batch in batches:
            store_events(connection, batch)
        assert held(connection) == [("db-01", one.id, 5), ("web-01", two.id, 9)]
        # The end of the former holder is read last, and takes only what is still its own.
        store_events(connection, one.add("lock.released", tokens={"web-01": 4, "db-01": 5}).rows())
        assert held(connection) == [("web-01", two.id, 9)]
        store_events(connection, two.add("lock.expired", tokens={"web-01": 9}).rows())
        assert held(connection) == []


def test_no_column_of_a_lock_stays_empty(database: str) -> None:
    migrate(database)
    story = Story().lock("s0", {"web-01": 4})
    with psycopg.connect(database) as connection:
        for table in TABLES:
            connection.execute(table.incoming)
        store_events(connection, story.rows())
        found = connection.execute("SELECT to_jsonb(l) FROM execution.execution_locks AS l")
        ((row,),) = found.fetchall()
    assert [name for name, value in row.items() if value is None] == []
    assert (row["step"], row["lease_seconds"], row["fencing_token"]) == ("s0", 60.0, 4)
