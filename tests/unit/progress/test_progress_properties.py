from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.progress.fold import DONE, fold
from processors.progress.snapshot import show, snapshot
from processors.progress.state import Progress, pack, unpack
from streams.events import Event
from streams.lifecycle import STEP_ENDED, TERMINAL_EVENTS
from tests.unit.progress.histories import histories


def replay(events: list[Event]) -> list[Progress]:
    """The states after each event, each with the percent that its snapshot showed."""
    states: list[Progress] = []
    state: Progress | None = None
    for event in events:
        state = fold(state, event)
        assert state is not None
        state = show(state, event.unix()).progress
        states.append(state)
    return states


@given(histories())
def test_percent_never_falls_and_is_100_iff_the_execution_has_ended(events: list[Event]) -> None:
    states = replay(events)
    percents = [state.percent for state in states]
    assert percents == sorted(percents)
    ended = False
    for state, event in zip(states, events, strict=True):
        ended = ended or event.type in TERMINAL_EVENTS
        shot = snapshot(state, event.unix())
        assert (shot.percent == 100) is ended
        assert sum(shot.counts.values()) == shot.total_steps


@given(histories(), st.data())
def test_duplicates_change_nothing_wherever_they_come(
    events: list[Event], data: st.DataObject
) -> None:
    clean = replay(events)[-1]
    noisy: list[Event] = []
    for index, event in enumerate(events):
        noisy.append(event)
        back = data.draw(st.integers(0, min(3, index)))
        noisy.extend(events[index - back : index + 1])
    states = replay(noisy)
    assert states[-1] == clean
    before: Progress | None = None
    for event in events:
        state = fold(before, event)
        assert fold(state, event) is state
        before = state


@given(histories(), st.data())
def test_gaps_leave_percent_monotone_and_the_end_certain(
    events: list[Event], data: st.DataObject
) -> None:
    kept = [e for e in events if e.type in TERMINAL_EVENTS or data.draw(st.integers(0, 3)) > 0]
    state: Progress | None = None
    percents: list[int] = []
    for event in kept:
        state = fold(state, event)
        if state is not None:
            state = show(state, event.unix()).progress
            percents.append(state.percent)
            assert state.points == sum(s.percent for s in state.steps.values() if not s.children)
            assert state.total == sum(1 for s in state.steps.values() if not s.children)
    assert percents == sorted(percents)
    assert state is not None
    assert state.percent == DONE


@given(histories(), st.data())
def test_a_restart_anywhere_gives_the_same_snapshots(
    events: list[Event], data: st.DataObject
) -> None:
    whole = replay(events)
    cut = data.draw(st.integers(1, len(events)))
    state: Progress | None = unpack(pack(whole[cut - 1]))
    assert state == whole[cut - 1]
    again = data.draw(st.integers(0, cut))  # A restart reads some events a second time.
    for event in events[again:]:
        state = fold(state, event)
    assert state is not None
    assert snapshot(state, 0.0) == snapshot(whole[-1], 0.0)


@given(histories())
def test_the_sla_is_breached_at_most_once_and_as_the_event_times_say(events: list[Event]) -> None:
    flags = []
    for state, event in zip(replay(events), events, strict=True):
        shot = snapshot(state, event.unix())
        assert shot.sla is not None
        flags.append(shot.sla.breached)
        late = event.unix() > shot.sla.deadline.timestamp()
        assert state.ended_at is not None or shot.sla.breached is late
    assert flags == sorted(flags)


@given(histories())
def test_estimates_are_finite_and_belong_to_running_executions(events: list[Event]) -> None:
    for state, event in zip(replay(events), events, strict=True):
        shot = snapshot(state, event.unix() + 3.0)
        assert (shot.eta_seconds is None) is (shot.eta_error_seconds is None)
        if shot.eta_seconds is not None and shot.eta_error_seconds is not None:
            assert shot.status == "running"
            assert 0 <= shot.eta_seconds < 1e6
            assert 0 <= shot.eta_error_seconds < 1e6


@given(histories())
def test_what_counts_as_ended_shows_100_per_step(events: list[Event]) -> None:
    state = replay(events)[-1]
    for step in state.steps.values():
        if step.status in STEP_ENDED:
            assert step.percent == 100
