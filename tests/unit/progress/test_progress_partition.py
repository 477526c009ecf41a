from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.progress import partition as module
from processors.progress import records
from processors.progress.fold import fold
from processors.progress.partition import REFRESH, SPACING, PartitionState
from processors.progress.records import OFFSET, STATE, Record, StateBuilder, record
from processors.progress.snapshot import snapshot
from processors.progress.state import unpack
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


def test_a_running_execution_is_shown_anew_while_nothing_is_heard_of_it() -> None:
    state, out = PartitionState(), Published()
    logs = [Log(f"{number:08x}-0000-8000-8000-000000000000") for number in range(5)]
    for log in logs:
        log.accept(["a"], sla_seconds=86_400.0)
        process(state, state.position, log.events[-1])
    for log in logs[1:]:  # The first one waits for an executor: nothing of it moves.
        process(state, state.position, log.add("execution.started"))
    publish(state, 100.0, out)
    assert state.mark_stale(100.0 + REFRESH - 0.1, 100) == 0
    assert state.mark_stale(100.0 + REFRESH, 2) == 2
    publish(state, 100.0 + REFRESH, out)
    assert state.mark_stale(100.0 + REFRESH, 100) == 2
    publish(state, 100.0 + REFRESH, out)
    assert [len(out), state.has_unpublished] == [9, False]
    assert state.mark_stale(100.0 + REFRESH, 100) == 0
    process(state, state.position, logs[0].add("execution.started"))
    publish(state, 200.0, out)
    assert state.mark_stale(300.0, 100) == 5
    for log in logs:
        process(state, state.position, log.add("execution.completed"))
    publish(state, 300.0, out)
    assert state.mark_stale(400.0, 100) == 0
    assert len(state._fresh) == 0


def test_after_a_restart_what_runs_is_shown_anew_and_no_percent_is_lower() -> None:
    state, log, out = PartitionState(), Log(), Published()
    log.accept(["a", "b"])
    log.add("execution.started")
    log.add("step.dispatched", step="a", attempt=1)
    log.add("step.started", step="a", attempt=1)
    log.add("step.progress", {"percent": 90.0}, step="a", attempt=1)
    for event in log.events:
        process(state, state.position, event)
    publish(state, 100.0, out)
    again = restored(out)
    assert again.mark_stale(100.0, 10) == 1
    error = {"class": "refused", "message": "connection refused", "transient": True}
    failed = {"duration_seconds": 1.0, "error": error, "final": False}
    process(again, again.position, log.add("step.failed", failed, step="a", attempt=1))
    publish(again, 101.0, out)
    percents = [ProgressSnapshot.model_validate_json(value).percent for _, value, *_ in out]
    assert percents == [45.0, 45.0]


def test_the_state_that_an_earlier_version_wrote_is_read() -> None:
    raw = (
        b'[2,["018f3c1e-0000-8000-8000-0000deadbeef","acme","a plan",1800000000.0,"fast",'
        b'1800000030.0],[5,"running",2,1800000003.0,150,750,1800000001.0,null,false],'
        b'[1,1.0,0.0,1800000002.0],[["a","noop","succeeded",1,100,null,0],'
        b'["b","noop","running",1,50,"half",0]]]'
    )
    state = unpack(raw)
    shot = snapshot(state, 1_800_000_004.0)
    assert (shot.percent, shot.steps[1].percent, shot.eta_seconds) == (75.0, 50, 0.0)
