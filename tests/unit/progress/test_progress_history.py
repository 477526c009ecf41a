from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.synthetic_plans import World
from processors.progress import history as module
from processors.progress.fold import fold
from processors.progress.forecast import forecast
from processors.progress.history import DurationHistory, Taught
from processors.progress.records import StateBuilder, record
from processors.progress.snapshot import show, snapshot
from processors.progress.state import Progress
from processors.progress.transport import Batch
from streams.events import Event, encode_event
from streams.progress import ProgressSnapshot
from tests.unit.progress.histories import Log
from tests.unit.progress.projectors import restored_projector


def ended(events: list[Event]) -> Progress:
    state: Progress | None = None
    for event in events:
        state = fold(state, event)
    assert state is not None
    return state


def taught(seconds: float, times: int = 10, steps: tuple[str, ...] = ("a", "b")) -> DurationHistory:
    history = DurationHistory()
    for _ in range(times):
        log = Log()
        log.accept(list(steps))
        log.add("execution.started")
        for step in steps:
            log.run(step, seconds)
        log.add("execution.completed")
        history.observe(ended(log.events))
    return history


def running(*, since: float, log: Log | None = None) -> tuple[Progress, float]:
    """The first step has been running for `since` seconds; the second one waits for it."""
    log = log or Log()
    log.accept(["a", "b"])
    log.add("execution.started", seconds=0)
    log.add("step.dispatched", step="a", attempt=1, seconds=0)
    log.add("step.started", step="a", attempt=1, seconds=0)
    return ended(log.events), log.at + since


def test_what_was_published_teaches_a_restarted_projector_the_same() -> None:
    live, restarted = DurationHistory(), DurationHistory()
    builder = StateBuilder(restarted)
    for run in World(7).runs(30):
        progress = ended(run.events)
        live.observe(progress)
        key, value, headers, _ = record(progress, progress.updated_at, 0)
        builder.add(key, value, list(headers))
        builder.add(key, value, list(headers))  # Before compaction a record may be there twice.
    assert len(live) > 50
    assert len(live) == len(restarted)
    for name, moments in live._steps._of.items():
        again = restarted._steps._of[name]
        assert moments.seen == again.seen
        assert moments.mean == pytest.approx(again.mean, abs=1e-2)
        assert moments.variance == pytest.approx(again.variance, abs=1e-2)


def test_a_plan_that_ran_before_has_an_estimate_from_its_first_moment() -> None:
    state, now = running(since=0.3)
    assert snapshot(state, now, DurationHistory()).eta_seconds is None
    shot = snapshot(state, now, taught(30.0))
    assert shot.eta_basis == "history"
    assert shot.eta_seconds == pytest.approx(60.0, rel=0.25)
    assert shot.eta_error_seconds is not None
    assert 5.0 < shot.eta_error_seconds < 40.0
    assert shot.steps[0].eta_seconds == pytest.approx(30.0, rel=0.25)
    assert shot.steps[1].eta_seconds is None


def test_the_first_quarter_of_a_second_is_too_early_for_an_estimate() -> None:
    """The mean over the steps would be shown for ever: a percent never falls."""
    log = Log()
    log.accept(["a", "b"])
    log.add("execution.started", seconds=0)
    log.run("a", seconds=0.1)
    state, history = ended(log.events), taught(30.0)
    early = show(state, log.at, history)
    assert (early.document["percent"], early.document["eta_seconds"]) == (0, None)
    later = show(early.progress, log.at + 1.0, history).document
    assert later["percent"] < 5
    assert later["eta_seconds"] > 10


def test_percent_moves_while_a_step_says_nothing_and_never_reaches_the_end() -> None:
    state, begun = running(since=0.0)
    history, seen = taught(30.0), list[float]()
    for seconds in (0.3, 5.0, 15.0, 30.0, 60.0, 600.0, 100_000.0):
        document, state = show(state, begun + seconds, history)
        seen.append(document["percent"])
        step = document["steps"][0]
        assert (step["percent_source"], step["percent"] <= 99) == ("history", True)
    assert seen == sorted(seen)
    assert seen[0] < 1
    assert 15 < seen[2] < 35
    assert seen[-1] < 100


def test_what_the_attempt_reports_counts_more_than_what_earlier_ones_took() -> None:
    log = Log()
    running(since=0.0, log=log)
    log.add("step.progress", {"percent": 90.0}, step="a", attempt=1, seconds=90.0)
    found = forecast(ended(log.events), log.at, taught(20.0))
    assert found is not None
    step = found.steps["a"]
    assert step.left.mean == pytest.approx(10.0, rel=0.3)
    assert step.percent == 90


def test_the_time_that_others_held_the_step_teaches_nothing() -> None:
    history = DurationHistory()
    log = Log()
    log.accept(["a"])
    log.add("execution.started")
    waiting = {"reason": "lock", "message": "web-01 is locked by x", "until": None}
    log.add("step.waiting", waiting, step="a")
    log.add("step.dispatched", step="a", attempt=1, seconds=3_000.0)
    log.add("step.started", step="a", attempt=1, seconds=0)
    log.add("step.succeeded", {"duration_seconds": 5.0}, step="a", attempt=1, seconds=5.0)
    log.add("execution.completed")
    history.observe(ended(log.events))
    found = history.expected("acme", "a plan", "a", "noop", None)
    assert found is not None
    assert math.exp(found.mean) == pytest.approx(5.0)


def test_a_tenant_learns_nothing_from_another_one() -> None:
    history = taught(30.0)
    assert history.expected("acme", None, "x", "noop", None) is not None
    assert history.expected("other", "a plan", "a", "noop", None) is None


def test_a_slow_target_is_expected_to_be_slow_again() -> None:
    history = DurationHistory()
    for _ in range(20):
        for target, seconds in (("fast", 10.0), ("other", 10.0), ("slow", 40.0)):
            history.teach("acme", "p", [Taught("a", "df", target, seconds, False)])
    usual = history.expected("acme", "p", "a", "df", "fast")
    slow = history.expected("acme", "p", "a", "df", "slow")
    assert usual is not None
    assert slow is not None
    assert math.exp(slow.mean - usual.mean) > 2.5


def test_the_newest_durations_count_most() -> None:
    history = DurationHistory()
    for seconds in [100.0] * 200 + [1.0] * 200:
        history.teach("acme", "p", [Taught("a", "df", None, seconds, False)])
    found = history.expected("acme", "p", "a", "df", None)
    assert found is not None
    assert math.exp(found.mean) < 1.3


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NAMES", 100)
    history = DurationHistory()
    for number in range(1_000):
        history.teach("acme", f"p{number}", [Taught("a", f"t{number}", f"h{number}", 1.0, False)])
        history.expected("acme", f"p{number}", "a", f"t{number}", None)
    assert len(history) <= 300
    assert len(history._blends) <= 100


def test_items_of_a_list_run_so_many_at_once() -> None:
    history = DurationHistory()
    for _ in range(10):
        history.teach("acme", "a plan", [Taught("each[0]", "noop", None, 10.0, False)])
    log = Log()
    log.accept(["each"])
    log.add("execution.started")
    names = [f"each[{number}]" for number in range(20)]
    log.add("step.expanded", {"items": 20, "steps": names}, step="each")
    unbounded = snapshot(ended(log.events), log.at, history).eta_seconds
    for number in range(4):
        log.add("step.dispatched", step=names[number], attempt=1, seconds=0)
        log.add("step.started", step=names[number], attempt=1, seconds=0)
    for name in names[4:]:
        log.add("step.dispatched", step=name, attempt=1, seconds=0)
    bounded = snapshot(ended(log.events), log.at + 3.0, history)
    assert unbounded is not None
    assert bounded.eta_seconds is not None
    assert unbounded < 30.0
    assert bounded.eta_seconds == pytest.approx(5 * 10.0, rel=0.35)
    assert bounded.steps[0].children == 20


def test_a_plan_of_two_thousand_steps_is_estimated_fast_enough() -> None:
    history = DurationHistory()
    for _ in range(10):
        history.teach("acme", "a plan", [Taught("each[0]", "noop", None, 10.0, False)])
    log = Log()
    log.accept(["each"])
    log.add("execution.started")
    names = [f"each[{number}]" for number in range(1_999)]
    log.add("step.expanded", {"items": 1_999, "steps": names}, step="each")
    state = ended(log.events)
    found = forecast(state, log.at, history)
    assert found is not None
    assert len(show(state, log.at, history).document["steps"]) == 200
    # Every running execution carries its state along: it must fit a record of the topic.
    made = record(state, log.at, 0, history)
    assert len(made.value) + sum(len(value) for _, value in made.headers) < 500_000


@given(
    st.lists(st.floats(0, 1e9, allow_nan=False), min_size=1, max_size=8),
    st.floats(0, 1e9, allow_nan=False),
    st.integers(1, 99) | st.none(),
)
def test_whatever_steps_took_the_estimate_is_a_number(
    took: list[float], since: float, percent: int | None
) -> None:
    history = DurationHistory()
    for seconds in took:
        history.teach("acme", "a plan", [Taught("a", "noop", "h", seconds, False)])
    log = Log()
    running(since=0.0, log=log)
    if percent is not None:
        log.add("step.progress", {"percent": float(percent)}, step="a", attempt=1, seconds=0)
    shot = snapshot(ended(log.events), log.at + since, history)
    if since > 1.0:
        assert shot.eta_seconds is not None
        assert shot.eta_error_seconds is not None
        assert 0 <= shot.eta_seconds < 1e15
        assert 0 <= shot.eta_error_seconds < 1e15
    assert 0 <= shot.percent < 100


def test_an_estimate_that_fails_holds_no_snapshot_up(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[ProgressSnapshot] = []

    async def delivered() -> None: ...

    async def send(partition: int, key: bytes, value: bytes, headers: Any) -> Any:
        published.append(ProgressSnapshot.model_validate_json(value))
        return delivered()

    def broken(progress: Progress, now: float, history: DurationHistory) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        projector = await restored_projector(send)
        monkeypatch.setattr("processors.progress.snapshot.forecast", broken)
        log = Log()
        running(since=0.0, log=log)
        batch: list[tuple[int, bytes | None]] = [
            (offset, encode_event(event)) for offset, event in enumerate(log.events)
        ]
        await projector.process(Batch(0, batch, 0.0))

    asyncio.run(scenario())
    assert [shot.status for shot in published] == ["running"]
