"""A record that ends the process each time becomes a dead letter, and only that one."""

from __future__ import annotations

from typing import Final

import pytest
from confluent_kafka import KafkaException
from hypothesis import given
from hypothesis import strategies as st

from runtime.kafka import crashes
from streams.topics import EVENTS
from tests.unit.runtime.ledger_partition import FakeBroker, Loop

WHERE: Final = ("source", 0)


def run(broker: FakeBroker, texts: list[bytes]) -> bool:
    """A process that takes the partition and reads what is not committed; whether it survives."""
    try:
        loop = Loop(broker)
        loop.decide_from(broker.offsets.get(WHERE, 0), texts)
    except SystemExit:
        broker.abort()  # What a new producer of the same name does.
        return False
    return True


def deaths_until_one_survives(broker: FakeBroker, texts: list[bytes]) -> int:
    deaths = 0
    while not run(broker, texts):
        deaths += 1
        assert deaths < 10
    return deaths


def test_a_record_that_ends_the_process_becomes_a_dead_letter() -> None:
    broker = FakeBroker()
    texts = [b"a", b"b", b"c:crash", b"d", b"a"]
    assert deaths_until_one_survives(broker, texts) == 2 + crashes.LIMIT
    assert broker.of("source.dlq") == [b"c:crash"]
    assert broker.of(EVENTS.name) == [b"a", b"b", b"d", b"a"]
    assert broker.offsets == {WHERE: 5}


@pytest.mark.parametrize("at", [0, 1, 2])
def test_of_a_record_with_several_values_one_may_end_the_process(at: int) -> None:
    broker = FakeBroker()
    values = [b"b", b"c", b"d"]
    values[at] = b"x:crash"
    texts = [b"a", b"\n".join(values), b"e"]
    assert deaths_until_one_survives(broker, texts) == 2 + crashes.LIMIT
    assert broker.of("source.dlq") == [b"x:crash"]
    # What comes before it in its record is decided anew each time.
    assert set(broker.of(EVENTS.name)) == {b"a", b"b", b"c", b"d", b"e"} - {b"bcd"[at : at + 1]}
    assert broker.offsets == {WHERE: 3}


def test_two_such_records_become_two_dead_letters() -> None:
    broker = FakeBroker()
    texts = [b"a:crash", b"b", b"c:crash"]
    deaths_until_one_survives(broker, texts)
    assert broker.of("source.dlq") == [b"a:crash", b"c:crash"]
    assert broker.of(EVENTS.name) == [b"b"]


def test_a_process_that_was_killed_for_another_reason_loses_nothing() -> None:
    broker = FakeBroker()
    for _ in range(5):
        Loop(broker)  # takes the partition, and is killed
    assert run(broker, [b"a", b"b"])
    assert broker.of("source.dlq") == []
    assert broker.of(EVENTS.name) == [b"a", b"b"]


@given(st.lists(st.integers(0, 12), max_size=33))
def test_kills_make_no_dead_letter_wherever_they_meet_the_process(kills: list[int]) -> None:
    broker = FakeBroker()
    texts = [b"a", b"b", b"c:nothing", b"d", b"e", b"f"]
    for kill in kills:
        broker.kill_at = kill
        run(broker, texts)
    broker.kill_at = None
    assert run(broker, texts)
    assert broker.of("source.dlq") == []
    assert broker.of(EVENTS.name) == [b"a", b"b", b"d", b"e", b"f"]


def test_a_record_that_the_process_was_killed_with_often_is_decided_all_the_same() -> None:
    broker = FakeBroker(offsets={WHERE: 1}, marks={WHERE: "deciding:9"})
    assert run(broker, [b"a", b"b", b"c"])
    assert broker.of("source.dlq") == []
    assert broker.of(EVENTS.name) == [b"b", b"c"]


def test_in_normal_running_there_is_one_commit_per_batch_and_one_per_assignment() -> None:
    broker = FakeBroker()
    loop = Loop(broker)
    for at in range(50):
        loop.decide_from(at, [b"a"] * (at + 1))
        loop.crashes.settle()
    loop.crashes.settle(now=True)
    assert (broker.commits, broker.marked) == (50, 1)


def test_a_rebalance_waits_for_no_broker() -> None:
    broker = FakeBroker(offsets={WHERE: 7})
    loop = Loop(broker)
    assert broker.marks == {WHERE: "taken"}
    loop.crashes.given_back()
    assert (broker.marks, broker.offsets) == ({WHERE: ""}, {WHERE: 7})


def test_batches_are_whole_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "SLICE_RECORDS", 2)
    broker = FakeBroker()
    Loop(broker)
    Loop(broker)
    loop = Loop(broker)
    loop.decide_from(0, [b"a", b"b"])
    assert broker.commits == 2
    marked = broker.marked
    loop.decide_from(2, [b"a", b"b", b"c", b"d"])
    assert (broker.commits, broker.marked) == (3, marked)


def test_after_one_end_a_batch_is_decided_in_slices_and_after_two_some_one_by_one() -> None:
    broker = FakeBroker()
    Loop(broker)
    loop = Loop(broker)
    assert broker.marks == {WHERE: "taken:2"}
    loop.decide_from(0, [b"a"] * 250)
    assert (broker.commits, broker.marked) == (3, 2)
    Loop(broker)
    Loop(broker)
    loop = Loop(broker)
    commits, marked = broker.commits, broker.marked
    loop.decide_from(250, [b"a"] * 500)
    # 100 alone, each marked before; then slices.
    assert (broker.commits - commits, broker.marked - marked) == (102, 100)


def test_marks_are_removed_when_the_process_stops_or_has_run_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = FakeBroker(offsets={WHERE: 7})
    loop = Loop(broker)
    loop.crashes.settle()
    assert broker.marks == {WHERE: "taken"}
    loop.crashes.settle(now=True)
    assert (broker.marks, broker.offsets) == ({WHERE: ""}, {WHERE: 7})
    assert not Loop(broker).crashes.sliced
    assert Loop(broker).crashes.sliced
    assert Loop(broker).crashes.careful


def test_sessions_that_kafka_ended_are_not_counted() -> None:
    broker = FakeBroker()
    Loop(broker)  # is killed
    survived: dict[tuple[str, int], tuple[int, int]] = {}
    broker.takes_no_records = True
    for _ in range(5):
        loop = Loop(broker, survived)
        with pytest.raises(KafkaException):
            loop.decide_from(0, [b"a"])
        broker.abort()
    broker.takes_no_records = False
    Loop(broker, survived).decide_from(0, [b"a"])
    assert broker.of("source.dlq") == []
    assert broker.of(EVENTS.name) == [b"a"]
