from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.progress import partition as module
from processors.progress import records
from processors.progress.fold import fold
from processors.progress.partition import SPACING, PartitionState
from processors.progress.records import OFFSET, STATE, Record, StateBuilder, record
from processors.progress.snapshot import snapshot
from streams.envelope import header
from streams.events import Event
from streams.progress import ProgressSnapshot
from tests.unit.progress.histories import EXECUTION, START, Log, histories

Published = list[Record]


def process(state: PartitionState, offset: int, event: Event) -> None:
    state.process(offset, event)
    state.position = offset + 1


def publish(state: PartitionState, monotonic: float, to: Published) -> None:
    due = state.due(monotonic, 100)
    low = state.low_water()
    made = [record(progress, state.stream_time, low) for progress in due]
    to.extend(made)
    state.published([one.progress for one in made], monotonic)


def restored(published: Published) -> PartitionState:
    restoring = StateBuilder()
    for key, value, headers, _ in published:
        restoring.add(key, value, list(headers))
    assert restoring.damaged == []
    return restoring.state()


def test_a_living_execution_is_published_at_most_every_fifth_of_a_second() -> None:
    state, log, out = PartitionState(), Log(), Published()
    log.accept(["a", "b"])
    process(state, 0, log.events[-1])
    publish(state, 100.0, out)
    log.add("execution.started")
    process(state, 1, log.events[-1])
    assert state.due(100.0 + SPACING / 2, 10) == []
    assert state.low_water() == 1
    assert len(state.due(100.0 + SPACING, 10)) == 1


def test_the_end_does_not_wait_and_frees_the_memory() -> None:
    state, log, out = PartitionState(), Log(), Published()
    log.accept(["a"])
    process(state, 0, log.events[-1])
    publish(state, 100.0, out)
    process(state, 1, log.add("execution.completed"))
    publish(state, 100.0, out)
    assert state.live == {}
    last = ProgressSnapshot.model_validate_json(out[-1][1])
    assert (last.percent, last.status) == (100, "completed")
    assert header(out[-1][2], STATE) is None
    assert state.process(2, log.events[0]).outcome == "duplicate"
    assert state.process(3, log.add("execution.duplicate")).outcome == "after_end"
    assert state.due(1e9, 10) == []


def test_many_events_of_a_batch_make_one_snapshot() -> None:
    state, log, out = PartitionState(), Log(), Published()
    log.accept(["a", "b", "c"])
    for step in ("a", "b", "c"):
        log.run(step)
    for offset, event in enumerate(log.events):
        process(state, offset, event)
    publish(state, 1.0, out)
    assert len(out) == 1
    assert header(out[0][2], OFFSET) == "0"


def test_a_deadline_that_passes_makes_a_quiet_execution_due_once() -> None:
    state, log, out = PartitionState(), Log(), Published()
    log.accept(["a"], sla_seconds=5.0)
    process(state, 0, log.events[-1])
    publish(state, 1.0, out)
    state.mark_overdue(log.at + 4.9)
    assert state.due(1e9, 10) == []
    state.mark_overdue(log.at + 5.1)
    assert len(state.due(1e9, 10)) == 1
    publish(state, 1e9, out)
    state.mark_overdue(log.at + 6.0)
    assert state.due(1e12, 10) == []


def test_finished_ids_and_deadlines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FINISHED_KEPT", 50)
    state, out = PartitionState(), Published()
    for number in range(3_000):
        log = Log(f"{number:08x}-0000-8000-8000-000000000000")
        log.accept(["a"], sla_seconds=86_400.0)
        log.add("execution.completed")
        for event in log.events:
            process(state, state.position, event)
        publish(state, 1.0, out)
    assert len(state._finished) == 50
    assert len(state._deadlines) <= 1_001
    assert state.live == {}


def test_ended_executions_of_a_whole_topic_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "FINISHED_KEPT", 50)
    monkeypatch.setattr(module, "FINISHED_KEPT", 50)
    state, log, out = PartitionState(), Log(), Published()
    log.accept(["a"])
    log.add("execution.completed")
    for offset, event in enumerate(log.events):
        process(state, offset, event)
    publish(state, 1.0, out)
    ((_, value, headers, _),) = out
    restoring = StateBuilder()
    for number in range(200):
        restoring.add(b"%032x" % number, value, list(headers))
    assert len(restoring._finished) == 50
    assert len(restoring.state()._finished) == 50


def test_living_executions_are_counted_by_status() -> None:
    state, log, out = PartitionState(), Log(), Published()
    log.accept(["a"])
    process(state, 0, log.events[-1])
    assert +state.statuses == {"approved": 1}
    process(state, 1, log.add("execution.started"))
    process(state, 1, log.events[-1])
    assert +state.statuses == {"running": 1}
    publish(state, 1.0, out)
    assert +restored(out).statuses == {"running": 1}
    process(state, 2, log.add("execution.failed"))
    assert +state.statuses == {}


@given(histories(), st.data())
def test_killed_anywhere_and_restored_the_last_snapshot_is_the_same(
    events: list[Event], data: st.DataObject
) -> None:
    out: Published = []
    state, now = PartitionState(), 0.0
    offset = 0
    kills = 0
    while offset < len(events):
        size = data.draw(st.integers(1, 5))
        for event in events[offset : offset + size]:
            process(state, offset, event)
            offset += 1
        now += data.draw(st.sampled_from([0.01, SPACING, 1.0]))
        if data.draw(st.booleans()):
            publish(state, now, out)
        if kills < 4 and data.draw(st.integers(0, 3)) == 0:
            kills += 1
            state = restored(out)
            offset = state.position
    while state.due(now, 10):
        publish(state, now, out)
    whole = None
    for event in events:
        whole = fold(whole, event)
    assert whole is not None
    last = ProgressSnapshot.model_validate_json(out[-1][1])
    assert last == ProgressSnapshot.model_validate_json(snapshot(whole, START).model_dump_json())
    percents = [ProgressSnapshot.model_validate_json(value).percent for _, value, _, _ in out]
    assert percents == sorted(percents)
    assert {key for key, *_ in out} == {EXECUTION.encode()}


def test_a_damaged_record_is_named_and_the_others_are_restored() -> None:
    state, log, out = PartitionState(), Log(), Published()
    log.accept(["a"])
    process(state, 0, log.events[-1])
    publish(state, 1.0, out)
    restoring = StateBuilder()
    restoring.add(b"other", b"{}", [(STATE, b"[]")])
    restoring.add(b"third", b"no json", [])
    for key, value, headers, _ in out:
        restoring.add(key, value, list(headers))
    assert [text.split(":")[0] for text in restoring.damaged] == ["other", "third"]
    assert set(restoring.state().live) == {EXECUTION}
    restoring.add(EXECUTION.encode(), None, [])
    assert restoring.state().live == {}
