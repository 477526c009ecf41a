"""What a match starts: once, within limits, and for the trigger as it is now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from processors.triggers import decisions
from processors.triggers.decisions import Start
from processors.triggers.state import MAX_SAME, TriggerState, decode, encode
from streams.ids import is_execution_id, route_key, route_of
from streams.limits import MAX_RECORD_BYTES
from streams.started import has_mark, mark_of
from streams.triggers import Matched, MatchFailed, Trigger

NOW = 1_790_000_000.0


def trigger(**fields: Any) -> Trigger:
    return Trigger.model_validate({"name": "t", "topic": "alerts", "procedure": "p", **fields})


def applied(now: float = NOW, **fields: Any) -> TriggerState:
    return decisions.apply(None, trigger(**fields), "default", "ops", "kid", now)


def match(state: TriggerState, offset: int, **fields: Any) -> Matched:
    told = {
        "tenant": "default", "name": "t", "definition": state.definition, "topic": "alerts",
        "partition": 0, "offset": offset, "at": datetime.fromtimestamp(NOW, UTC), **fields,
    }  # fmt: skip
    return Matched.model_validate(told)


def kept(state: TriggerState) -> TriggerState:
    """The state after a restart."""
    return decode(encode(state))


def test_a_record_starts_once_however_often_it_is_found() -> None:
    state = applied()
    first = decisions.matched(state, match(state, 5), NOW)
    assert isinstance(first, Start)
    assert is_execution_id(first.execution_id)
    assert route_of(first.execution_id) == route_key("default", first.idempotency_key)
    assert has_mark(first.execution_id, mark_of("trigger", "default/t"))
    assert (first.started_by.cause, first.started_by.key) == ("alerts/0/5", "kid")
    state = kept(state)
    assert decisions.matched(state, match(state, 5), NOW + 1) is None
    assert decisions.matched(state, match(state, 4), NOW + 1) is None
    items = [decisions.matched(state, match(state, 6, item=n), NOW + 1) for n in (0, 3, 3, 2)]
    assert [one is not None for one in items] == [True, True, False, False]
    assert decisions.matched(state, match(state, 5, partition=1), NOW) is not None
    assert state.counts == {"started": 4}


def test_a_topic_that_was_made_anew_begins_at_its_first_record() -> None:
    state = applied()
    first = decisions.matched(state, match(state, 900), NOW)
    later = datetime.fromtimestamp(NOW + 60, UTC)
    anew = [decisions.matched(state, match(state, n, at=later), NOW + 61) for n in (0, 1, 1, 900)]
    assert [one is not None for one in anew] == [True, True, False, True]
    last = anew[-1]
    assert first is not None
    assert last is not None
    # The router knows the former for a day.
    assert first.idempotency_key != last.idempotency_key


def test_what_is_the_same_starts_once_within_the_window() -> None:
    state = applied(deduplicate={"key": "x", "window_seconds": 100})
    found = []
    for offset, (one, after) in enumerate(zip("aabaaa", (0, 99, 99, 100, 150, 50), strict=True)):
        same = one * 64
        at = datetime.fromtimestamp(NOW + after, UTC)
        state = kept(state)
        start = decisions.matched(state, match(state, offset, same=same, at=at), NOW + 1_000)
        found.append(start is not None)
    assert found == [True, False, True, True, False, False]
    assert state.counts == {"started": 3, "repeated": 3}


def test_a_timestamp_from_the_future_does_not_hold_the_window_open() -> None:
    state = applied(deduplicate={"key": "x", "window_seconds": 100})
    far = datetime(9999, 1, 1, tzinfo=UTC)
    assert decisions.matched(state, match(state, 0, same="a" * 64, at=far), NOW) is not None
    assert decisions.matched(state, match(state, 1, same="a" * 64, at=far), NOW + 50) is None
    assert decisions.matched(state, match(state, 2, same="a" * 64, at=far), NOW + 101) is not None


def test_ten_thousand_records_start_as_many_as_the_limit_allows_and_stay_small() -> None:
    state = applied(limit={"starts": 10, "per_seconds": 60}, deduplicate={"key": "x"})
    for offset in range(10_000):
        decisions.matched(
            state, match(state, offset, same=f"{offset:032x}" * 2), NOW + offset / 1e3
        )
    assert state.counts == {"started": 10, "limited": 9_990}
    assert decisions.matched(state, match(state, 10_000, same="f" * 64), NOW + 60) is not None
    assert len(encode(state)) < 10_000
    big = applied(limit={"starts": 100_000, "per_seconds": 60}, deduplicate={"key": "x"})
    for offset in range(MAX_SAME + 500):
        found = match(big, offset, same=f"{offset:032x}" * 2, partition=offset % 5_100)
        decisions.matched(big, found, NOW)
    assert big.counts == {"started": MAX_SAME + 500, "forgotten": 500}
    assert len(encode(big)) < MAX_RECORD_BYTES / 2


def test_history_says_what_became_of_matches_and_puts_floods_together() -> None:
    state = applied(limit={"starts": 1, "per_seconds": 60})
    for offset in range(30):
        decisions.matched(state, match(state, offset), NOW)
    (started, limited) = state.history
    assert (started.what, started.count) == ("started", 1)
    assert started.execution_id is not None
    assert (limited.what, limited.count, limited.cause) == ("limited", 29, "alerts/0/29")


def test_a_trigger_that_was_changed_ignores_what_the_former_one_found() -> None:
    state = applied()
    old = match(state, 3)
    assert decisions.matched(state, match(state, 2), NOW) is not None
    changed = decisions.apply(state, trigger(when="true"), "default", "eve", "k2", NOW + 60)
    assert decisions.matched(changed, old, NOW + 61) is None
    # It is looked for again: by the records of the last seconds before the change.
    assert (changed.since, changed.again) == (NOW, NOW + 60 - decisions.AGAIN_SECONDS)
    start = decisions.matched(changed, match(changed, 3), NOW + 62)
    assert start is not None
    assert start.started_by.key == "k2"
    assert decisions.matched(changed, match(changed, 2), NOW + 62) is None


def test_the_same_trigger_applied_again_changes_whose_it_is_and_nothing_else() -> None:
    state = applied()
    under_way = match(state, 3)
    again = decisions.apply(kept(state), trigger(), "default", "eve", "k2", NOW + 60)
    assert again.definition == state.definition
    assert (again.since, again.changed_at) == (state.since, state.changed_at)
    start = decisions.matched(again, under_way, NOW + 61)
    assert start is not None
    assert start.started_by.key == "k2"


@pytest.mark.parametrize("change", ["pause", "remove", "topic"])
def test_what_is_paused_or_gone_starts_nothing_and_begins_anew(change: str) -> None:
    state = applied(begin="earliest")
    assert state.since is None
    under_way = match(state, 3)
    if change == "pause":
        decisions.pause(state, "night")
        assert decisions.matched(state, under_way, NOW) is None
        decisions.resume(state, NOW + 60)
    elif change == "remove":
        gone = decisions.remove(state, NOW + 10)
        assert decisions.matched(gone, under_way, NOW) is None
        state = decisions.apply(kept(gone), trigger(), "default", "ops", "kid", NOW + 60)
    else:
        state = decisions.apply(state, trigger(topic="b"), "default", "ops", "kid", NOW + 60)
    assert (state.since, state.changed_at, state.again) == (NOW + 60, NOW + 60, None)
    assert decisions.matched(state, under_way, NOW + 61) is None


@pytest.mark.parametrize("change", [{"limit": {"starts": 2}}, {"topic": "others"}, {}])
def test_a_pause_outlasts_a_change_of_the_file_that_does_not_speak_of_it(
    change: dict[str, Any],
) -> None:
    state = applied()
    decisions.pause(state, "night")
    state = decisions.apply(state, trigger(**change), "default", "ops", "kid", NOW + 1)
    assert (state.paused, state.pause_reason) == (True, "night")
    # Nor is it paused again by the same file after a resume.
    state = decisions.apply(None, trigger(paused=True), "default", "ops", "kid", NOW)
    decisions.resume(state, NOW + 1)
    changed = trigger(paused=True, **change)
    assert not decisions.apply(state, changed, "default", "ops", "kid", NOW + 2).paused
    state = decisions.apply(state, trigger(**change), "default", "ops", "kid", NOW + 3)
    assert not state.paused
    assert decisions.apply(state, changed, "default", "ops", "kid", NOW + 4).paused


def test_failures_are_counted_and_the_last_is_kept() -> None:
    state = applied()
    told = {**match(state, 9).model_dump(exclude={"type", "item", "same", "inputs"}),
            "field": "when", "error": "no", "count": 12}  # fmt: skip
    decisions.failed(state, MatchFailed.model_validate(told))
    decisions.failed(state, MatchFailed.model_validate({**told, "definition": "old"}))
    assert state.counts == {"failed": 12}
    error = kept(state).last_error
    assert error is not None
    assert (error.field, error.record, error.count) == ("when", "alerts/0/9", 12)


@pytest.mark.parametrize(
    ("topic", "prefix", "allowed"),
    [
        ("alerts", "", True), ("execution.events", "", True), ("steps.reports.dlq", "", True),
        ("execution.requests", "", False), ("triggers.commands", "", False),
        ("triggers.state", "", False), ("steps.automation", "", False),
        ("p.execution.requests", "p.", False), ("execution.requests", "p.", True),
        ("p.execution.events", "p.", True),
    ],
)  # fmt: skip
def test_own_topics_are_refused_but_events_and_dead_letters(
    topic: str, prefix: str, allowed: bool
) -> None:
    assert (decisions.refuse_topic(topic, prefix) is None) == allowed


def test_a_record_of_another_version_is_not_read() -> None:
    told = orjson.loads(encode(applied()))
    with pytest.raises(ValueError, match="version 2"):
        decode(orjson.dumps(told | {"version": 2}))
