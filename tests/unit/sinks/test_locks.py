"""What the events of locks mean for `execution_locks`."""

from __future__ import annotations

from sinks.rows import fold
from sinks.tables import LOCKS
from tests.unit.sinks.stories import Story


def test_a_lock_is_a_row_until_it_ends() -> None:
    story = Story().add("lock.acquired", tokens={"web-01": 4, "db-01": 5})
    story.add("lock.expired", tokens={"db-01": 5})
    locks = fold(story.rows()).patches.locks
    row = locks[story.id, "web-01"]
    assert row is not None
    assert (row["tenant"], row["asset"], row["fencing_token"]) == ("acme", "web-01", 4)
    assert row["acquired_at"] == story.at(2).isoformat().replace("+00:00", "Z")
    assert locks[story.id, "db-01"] is None
    story.add("lock.released", tokens={"web-01": 4})
    assert set(fold(story.rows()).patches.locks.values()) == {None}


def test_every_column_of_a_lock_is_filled() -> None:
    story = Story().lock("s0", {"web-01": 4})
    row = fold(story.rows()).patches.locks[story.id, "web-01"]
    assert row is not None
    assert {name for name in LOCKS.columns if row.get(name) is None} == set()
