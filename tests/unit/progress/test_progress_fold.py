from __future__ import annotations

import pytest

from processors.progress.fold import fold
from processors.progress.snapshot import estimate, show, snapshot
from processors.progress.state import Progress, unpack
from streams.progress import ProgressSnapshot
from tests.unit.progress.histories import START, Log


def folded(log: Log) -> Progress:
    state: Progress | None = None
    for event in log.events:
        state = fold(state, event)
    assert state is not None
    return state


def test_a_plan_step_by_step() -> None:
    log = Log()
    log.accept(["disk", "tell"])
    assert snapshot(folded(log), log.at).percent == 0
    log.add("execution.started")
    log.add("step.dispatched", {"tool": "df"}, step="disk", attempt=1)
    log.add("step.started", {"executor": "e"}, step="disk", attempt=1)
    shot = snapshot(folded(log), log.at)
    assert (shot.percent, shot.steps[0].percent, shot.steps[0].percent_source) == (0, 0, None)
    log.add("step.progress", {"percent": 80.0, "message": "half"}, step="disk", attempt=1)
    shot = snapshot(folded(log), log.at)
    assert shot.percent == 40
    assert shot.steps[0].message == "half"
    assert shot.steps[0].percent_source == "reported"
    log.add("step.succeeded", {"duration_seconds": 1.0}, step="disk", attempt=1)
    shot = snapshot(folded(log), log.at)
    assert shot.percent == 50
    assert shot.counts == {"succeeded": 1, "pending": 1}
    log.run("tell")
    assert snapshot(folded(log), log.at).percent == 99.9
    log.add("execution.completed")
    shot = snapshot(folded(log), log.at + 500)
    assert (shot.percent, shot.status, shot.eta_seconds) == (100, "completed", None)
    assert shot.elapsed_seconds == pytest.approx(log.at - START - 1.0)


def test_a_retry_goes_back_for_the_step_but_not_for_the_execution() -> None:
    log = Log()
    log.accept(["a", "b"])
    log.run("a")
    log.add("step.started", {"executor": "e"}, step="b", attempt=1)
    log.add("step.progress", {"percent": 50.0}, step="b", attempt=1)
    before = show(folded(log), log.at)
    assert before.document["percent"] == 75
    error = {"class": "refused", "message": "connection refused", "transient": True}
    failed = {"duration_seconds": 1, "error": error, "final": False}
    failed_event = log.add("step.failed", failed, step="b", attempt=1)
    state = fold(before.progress, failed_event)
    retry = {"next_attempt": 2, "delay_seconds": 1.5}
    state = fold(state, log.add("step.retry_scheduled", retry, step="b", attempt=1))
    assert state is not None
    shot = snapshot(state, log.at)
    assert shot.percent == 75
    assert shot.steps[1].percent == 0
    assert shot.steps[1].message == "attempt 2 follows after 1.5 s"


def test_children_of_for_each_enlarge_the_total_and_stand_behind_their_parent() -> None:
    log = Log()
    log.accept(["a", "each", "z"])
    log.run("a")
    shown = show(folded(log), log.at)
    before = ProgressSnapshot.model_validate(shown.document)
    expanded = {"items": 3, "steps": ["each_0", "each_1", "each_2"]}
    state = fold(shown.progress, log.add("step.expanded", expanded, step="each"))
    assert state is not None
    after = snapshot(state, log.at)
    assert (before.total_steps, after.total_steps) == (3, 5)
    assert after.percent == before.percent
    assert [s.step for s in after.steps] == ["a", "each", "each_0", "each_1", "each_2", "z"]
    for child in ("each_0", "each_1", "each_2"):
        log.run(child)
    assert snapshot(folded(log), log.at).percent == 80


def test_steps_carried_over_by_a_rerun_are_done_from_the_start() -> None:
    log = Log()
    log.accept(["a", "b"], rerun_of="x", carried={"a": {"n": 1}})
    shot = snapshot(folded(log), log.at)
    assert shot.percent == 50
    assert shot.counts == {"succeeded": 1, "pending": 1}


def test_a_pause_ends_in_the_status_that_the_event_says() -> None:
    log = Log()
    log.accept(["a"])
    log.add("execution.started")
    log.add("execution.paused")
    log.add("execution.needs_attention", {"message": "lost"})
    assert folded(log).status == "needs_attention"
    log.add("execution.resumed", {"status": "running"})
    assert folded(log).status == "running"
    log.add("execution.paused")
    log.add("execution.resumed", {"status": "queued"})
    assert folded(log).status == "queued"


def test_a_step_that_is_being_cancelled_keeps_its_percent_until_it_has_ended() -> None:
    log = Log()
    log.accept(["a"])
    log.add("step.dispatched", step="a", attempt=1)
    log.add("step.started", step="a", attempt=1)
    log.add("step.progress", {"percent": 80.0}, step="a", attempt=1)
    log.add("step.cancel_requested", {"reason": "cancelled"}, step="a", attempt=1)
    (step,) = snapshot(folded(log), log.at).steps
    assert (step.status, step.percent) == ("cancelling", 80)
    cancelled = {"confirmed": True, "reason": "cancelled"}
    log.add("step.cancelled", cancelled, step="a", attempt=1)
    (step,) = snapshot(folded(log), log.at).steps
    assert (step.status, step.percent) == ("cancelled", 100)


def test_a_rejection_is_a_whole_history() -> None:
    log = Log()
    log.add("execution.rejected", {"reason": "invalid", "message": "no", "name": "patch web"})
    shot = snapshot(folded(log), log.at)
    assert shot.name == "patch web"
    assert (shot.status, shot.percent, shot.total_steps, shot.sla) == ("rejected", 100, 0, None)


def test_asides_about_an_unknown_execution_begin_nothing() -> None:
    log = Log()
    for kind in ("execution.duplicate", "step.late_result", "audit.decision"):
        assert fold(None, log.add(kind)) is None


def test_after_the_end_nothing_changes() -> None:
    log = Log()
    log.accept(["a"])
    log.add("execution.failed")
    ended = folded(log)
    assert fold(ended, log.add("execution.duplicate")) is ended


def test_a_living_execution_is_overdue_at_its_deadline_without_an_event() -> None:
    log = Log()
    log.accept(["a"], sla_seconds=10.0)
    state = folded(log)
    before, after = snapshot(state, log.at + 9.9), snapshot(state, log.at + 10.1)
    assert before.sla is not None
    assert after.sla is not None
    assert (before.sla.breached, after.sla.breached) == (False, True)


def test_the_estimate_follows_the_durations_so_far() -> None:
    log = Log()
    log.accept([f"s{n}" for n in range(6)])
    log.add("execution.started")
    assert estimate(folded(log), log.at) == (None, None)
    log.run("s0", seconds=2.0)
    assert estimate(folded(log), log.at) == pytest.approx((10.0, 10.0))
    log.run("s1", seconds=4.0)
    eta, error = estimate(folded(log), log.at + 1.0)
    assert eta == pytest.approx(4 * 3.0 - 1.0)
    assert error == pytest.approx(2**0.5 * 4**0.5)
    assert estimate(folded(log), log.at + 60.0) == pytest.approx((0.0, 48.0))


@pytest.mark.parametrize("kind", ["step.invented", "nonsense", "execution.invented"])
def test_types_of_later_versions_change_the_number_only(kind: str) -> None:
    log = Log()
    log.accept(["a"])
    log.add(kind, {"percent": "much"}, step="a", attempt=1)
    log.add(kind, {"steps": 3})
    assert (folded(log).seq, folded(log).status) == (3, "approved")
    alone = Log()
    assert fold(None, alone.add(kind, step="a")) is not None


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1,2]", b"[9,1,2,3,4]", b"\xff", b"[1,[],[],[],[]]"])
def test_a_damaged_state_is_an_expected_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="progress state"):
        unpack(raw)
