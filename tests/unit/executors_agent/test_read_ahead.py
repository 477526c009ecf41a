"""What a lane takes of what it has read, and what it commits for that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.executors import claimed_offsets, read_ahead
from processors.executors.claimed_offsets import ClaimedOffsets, UnknownNote
from processors.executors.read_ahead import ReadAhead, place
from tests.unit.executors_agent.waiting_commands import TOPIC, waiting

HERE = (TOPIC, 0)
PRIORITIES = st.integers(1, 10)


def reading(*records: Any, lowest: int = 0, note: str = "") -> ReadAhead:
    made = ReadAhead()
    for number in {record.partition() for record in records} | {0}:
        made.open((TOPIC, number), lowest, note)
    for record in records:
        made.add(record)
    return made


def offsets(taken: list[Any]) -> list[int]:
    return [message.offset() for message in taken]


def test_a_thousand_that_wait_are_taken_by_priority_and_then_as_they_came() -> None:
    records = [waiting(at, 1 + at * 7 % 10, at / 1_000) for at in range(1_000)]
    ahead = reading(*records)
    taken: list[Any] = []
    while got := ahead.take(3, now=1.0):
        taken += got
    assert taken == sorted(records, key=lambda one: (one.priority, one.at))
    assert len(ahead) == 0


def test_where_there_is_room_for_all_they_are_taken_as_they_came() -> None:
    records = [waiting(at, 10 - at) for at in range(9)]
    assert reading(*records).take(9, now=1.0) == records


def test_what_is_urgent_comes_before_what_was_read_before_it() -> None:
    ahead = reading(*(waiting(at, 10) for at in range(10)))
    assert offsets(ahead.take(2, now=1.0)) == [0, 1]
    ahead.add(waiting(10, 1, 100.0))
    assert offsets(ahead.take(2, now=101.0)) == [10, 2]
    assert ahead.claims([waiting(10)])[0] == {HERE: 3}


def test_what_is_committed_is_the_lowest_that_waits_with_those_beyond_it() -> None:
    ahead = reading(*(waiting(at, 10 if at in (5, 9) else 1) for at in range(5, 12)), lowest=5)
    taken = ahead.take(4, now=1.0)
    assert offsets(taken) == [6, 7, 8, 10]
    committed, notes = ahead.claims(taken)
    assert committed == {HERE: 5}
    beyond = ClaimedOffsets(5, notes[HERE])
    assert [at for at in range(5, 12) if at in beyond] == [6, 7, 8, 10]
    again = reading(*(waiting(at) for at in range(5, 12)), lowest=5, note=notes[HERE])
    assert offsets(again.take(9, now=1.0)) == [5, 9, 11]
    assert again.claims([waiting(5)]) == ({HERE: 12}, {})


def test_in_order_nothing_but_the_offset_is_committed() -> None:
    ahead = reading(*(waiting(at) for at in (3, 4, 6)), waiting(8, number=2))
    taken = ahead.take(9, now=1.0)
    assert ahead.claims(taken) == ({HERE: 7, (TOPIC, 2): 9}, {})


def test_what_was_claimed_beyond_and_is_not_read_yet_is_committed_again() -> None:
    note = ClaimedOffsets(0)
    for beyond in (2, 50):
        note.add(beyond)
    ahead = reading(*(waiting(at) for at in range(4)), note=note.note())
    taken = ahead.take(1, now=1.0)
    committed, notes = ahead.claims(taken)
    assert committed == {HERE: 1}
    known = ClaimedOffsets(1, notes[HERE])
    assert [at for at in range(60) if at in known] == [0, 2, 50]


@given(
    st.lists(st.tuples(st.floats(0, 600), PRIORITIES, st.integers(0, 3)), max_size=150),
    st.floats(0, 600),
    PRIORITIES,
    st.integers(1, 7),
)
def test_nothing_waits_for_more_than_what_came_within_its_bound(
    others: list[tuple[float, int, int]], at: float, priority: int, slots: int
) -> None:
    """Whatever comes, and however urgent: what comes 270 s after a command waits behind it.

    Time goes on by itself, a few are claimed at a time, and everything that has come is read.
    """
    coming = sorted([*others, (at, priority, 9)])
    ahead = ReadAhead()
    for number in range(10):
        ahead.open((TOPIC, number), 0, "")
    places = [0] * 10
    before = 0
    came: list[Any] = []
    watched: Any = None
    while coming or len(ahead):
        # A few come, then as many are claimed as there are slots.
        for moment, urgency, number in coming[:3]:
            record = waiting(places[number], urgency, moment, number=number)
            places[number] += 1
            ahead.add(record)
            came.append(record)
            if number == 9:
                watched = record
        now = max((one.arrived_at for one in came), default=0.0)
        del coming[:3]
        for record in ahead.take(slots, now):
            if record is watched:
                bound = sum(one.arrived_at <= at + 270 for one in came)
                assert before < bound
                return
            before += 1
    pytest.fail("it was never claimed")


@given(st.lists(st.tuples(PRIORITIES, st.floats(-1e6, 1e6)), max_size=60), st.integers(1, 5))
def test_one_partition_and_one_priority_stay_in_order_whatever_the_clocks_say(
    records: list[tuple[int, float]], slots: int
) -> None:
    """A copy of a command has its priority, and so never comes before it."""
    ahead = reading(*(waiting(at, *one) for at, one in enumerate(records)))
    taken: list[Any] = []
    while got := ahead.take(slots, now=1e3):
        taken += got
    for priority in range(1, 11):
        own = [one.at for one in taken if one.priority == priority]
        assert own == sorted(own)
    assert len(taken) == len(records)


def test_a_broker_whose_clock_was_ahead_makes_nobody_wait_for_it() -> None:
    ahead = reading(waiting(0, 5, 1e9), waiting(1, 5, 1e9, by_broker=False))
    assert len(ahead.take(1, now=100.0)) == 1
    for at in range(2, 5):
        ahead.add(waiting(at, 5, 200.0, number=0))
    assert offsets(ahead.take(1, now=200.0)) == [1]


def test_what_cannot_be_reached_is_preceded_by_what_keeps_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claimed_offsets, "CAPACITY", 8)
    records = [waiting(at, 10) for at in range(4)] + [waiting(at, 1) for at in range(4, 10)]
    ahead = reading(*records, *(waiting(at, 5, number=1) for at in range(3)))
    taken = [one for _ in range(13) for one in ahead.take(1, now=1.0)]
    got = [(one.partition(), one.offset()) for one in taken]
    assert got[:4] == [(0, 4), (0, 5), (0, 6), (0, 7)]
    # 8 is too far beyond 0, and 9 beyond 1.
    assert got[4:8] == [(0, 0), (0, 8), (0, 1), (0, 9)]
    assert got[8:11] == [(1, 0), (1, 1), (1, 2)] and len(got) == 13


def test_a_partition_that_is_lost_takes_along_what_waits_of_it_and_nothing_else() -> None:
    ahead = reading(*(waiting(at, number=at % 2) for at in range(8)))
    ahead.take(2, now=1.0)
    ahead.add(waiting(8, 1))
    ahead.drop([HERE, (TOPIC, 7)])
    assert not ahead.knows(HERE) and ahead.knows((TOPIC, 1))
    assert [place(one) for one in ahead.take(9, now=1.0)] == [(TOPIC, 1)] * 3
    assert len(ahead) == 0 and ahead.has_room


def test_a_note_that_cannot_be_read_names_its_partition() -> None:
    with pytest.raises(UnknownNote, match=r"partition 0 of p.steps.test: the note .* damaged"):
        reading(lowest=3, note="1:%%")


def test_a_topic_that_was_made_anew_is_read_anew() -> None:
    beyond = ClaimedOffsets(1_000)
    beyond.add(1_002)
    ahead = reading(lowest=1_000, note=beyond.note())
    for at in range(3):
        ahead.add(waiting(at))
    taken = ahead.take(9, now=1.0)
    assert offsets(taken) == [0, 1, 2]
    assert ahead.claims(taken) == ({HERE: 3}, {})


@pytest.mark.parametrize(
    "records",
    [
        [waiting(at) for at in range(read_ahead.MOST_READ)],
        [waiting(at, raw=bytes(2 * 1024 * 1024)) for at in range(8)],
    ],
    ids=["number", "bytes"],
)
def test_what_is_read_ahead_is_bounded(records: list[Any]) -> None:
    assert reading(*records[:-1]).has_room
    ahead = reading(*records)
    assert (ahead.has_room, ahead.is_overfull) == (False, False)
    ahead.take(1, now=1.0)
    assert (ahead.has_room, ahead.is_overfull) == (True, False)


def test_those_that_were_claimed_out_of_their_turn_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claimed_offsets, "CAPACITY", 2)
    ahead = reading(waiting(0, 10))
    for at in range(1, 30_000):
        ahead.add(waiting(at, 1 if at % 2 else 10))
        ahead.take(1, now=1.0)
    assert len(ahead) == 1
    assert len(ahead._ranked) < 3 * read_ahead.MOST_READ
