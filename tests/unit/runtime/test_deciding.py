"""A record that cannot be decided about costs that record only, whichever part of it fails."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.kafka.dlq_limit import DlqLimitReached
from streams.topics import EVENTS, ROUTER_STATE
from tests.unit.runtime.ledger_partition import Loop

HOW = st.sampled_from(["", ":handle", ":flush", ":large"])
RECORDS = st.lists(st.tuples(st.sampled_from("abc"), HOW), max_size=12)


@given(RECORDS)
def test_any_records_of_a_batch_may_be_undecidable(given: list[tuple[str, str]]) -> None:
    texts = [f"{key}{how}".encode() for key, how in given]
    loop = Loop()
    # What the broker refuses because of its size is one record of our own making.
    loop.broker.refuses = b"a:large"
    bad = [t for t in texts if t.endswith((b":handle", b":flush")) or t == b"a:large"]
    good = [t for t in texts if t not in bad]
    loop.decide(texts)
    assert loop.broker.of("source.dlq") == bad
    assert loop.broker.of(EVENTS.name) == good
    expected = {key: sum(t.startswith(key.encode()) for t in good) for key in "abc"}
    totals = {k: str(v).encode() for k, v in expected.items() if v}
    state = {k: v for n, k, v in loop.broker.committed if n == ROUTER_STATE.name}
    assert {k.decode(): v for k, v in state.items() if k} == totals
    if texts:
        assert loop.broker.offsets == {("source", 0): len(texts)}
    if not bad:
        assert loop.broker.commits == bool(texts) and loop.restores == 1


@given(RECORDS, st.data())
def test_parts_of_a_record_are_decided_like_records_of_their_own(
    given: list[tuple[str, str]], data: st.DataObject
) -> None:
    texts = [f"{key}{how}".encode() for key, how in given]
    cuts = data.draw(st.sets(st.integers(1, max(1, len(texts)))))
    edges = [0, *sorted(cut for cut in cuts if cut < len(texts)), len(texts)]
    records = [b"\n".join(texts[a:b]) for a, b in pairwise(edges) if a < b]
    apart, together = Loop(), Loop()
    for loop in (apart, together):
        loop.broker.refuses = b"a:large"
    apart.decide(texts)
    together.decide(records)
    for topic in ("source.dlq", EVENTS.name):
        assert together.broker.of(topic) == apart.broker.of(topic)
    if records:
        assert together.broker.offsets == {("source", 0): len(records)}


def test_a_record_is_consumed_with_its_last_part() -> None:
    loop = Loop()
    loop.broker.kill_at = 3  # after the second of the commits that decide the parts one by one
    with pytest.raises(SystemExit):
        loop.decide([b"a", b"b\nc:handle\nd"])
    assert loop.broker.offsets == {("source", 0): 1}
    loop.broker.kill_at = None
    again = Loop(loop.broker)
    again.decide_from(1, [b"a", b"b\nc:handle\nd"])
    assert set(loop.broker.of(EVENTS.name)) == {b"a", b"b", b"d"}
    assert set(loop.broker.of("source.dlq")) == {b"c:handle"}
    assert loop.broker.offsets == {("source", 0): 2}


def test_records_with_many_parts_do_not_make_a_transaction_longer() -> None:
    loop = Loop()
    loop.decide([b"\n".join([b"a"] * 60)] * 40)
    assert loop.broker.commits == 3
    assert loop.broker.of(EVENTS.name) == [b"a"] * 2_400
    assert loop.broker.offsets == {("source", 0): 40}


def test_a_timer_that_raises_is_suspended_and_the_others_run() -> None:
    loop = Loop(due={"a", "b", "c", "d"}, broken_timers={"a", "c"})
    for _ in range(4):
        loop.decide([b"x"])
    assert loop.deciding.partitions[0].suspended == {"a", "c"}
    ticks = [v for v in loop.broker.of(EVENTS.name) if v and v.startswith(b"tick")]
    assert ticks == [b"tick b", b"tick d"]
    assert loop.broker.of(EVENTS.name).count(b"x") == 4
    assert loop.broker.of("source.dlq") == []
    restores = loop.restores
    loop.decide([b"x"])
    assert loop.restores == restores


def test_timers_that_all_raise_wait_and_records_go_on() -> None:
    loop = Loop(every_tick_fails=True)
    loop.decide([b"a"])
    restores = loop.restores
    for _ in range(3):
        loop.decide([b"a"])
    assert loop.broker.of(EVENTS.name) == [b"a"] * 4
    assert loop.broker.of("source.dlq") == []
    # They are not tried with each batch, and the loop does not spin for them.
    assert loop.restores == restores
    due = loop.deciding.next_deadline()
    assert due is not None and due > 1_000


def test_when_most_records_fail_nothing_more_is_moved() -> None:
    loop = Loop()
    with pytest.raises(DlqLimitReached):
        loop.decide([b"a:handle"] * 501)
    assert len(loop.broker.of("source.dlq")) == 500
    assert loop.broker.offsets == {("source", 0): 500}


def test_timers_alone_commit_the_offsets_that_prove_whose_the_partition_is() -> None:
    loop = Loop(due={"a"})
    loop.deciding.positions[("source", 0)] = 7
    loop.decide([])
    assert loop.broker.of(EVENTS.name) == [b"tick a"]
    assert loop.broker.offsets == {("source", 0): 7}


def test_an_aborted_batch_does_not_move_the_offsets_that_timers_commit() -> None:
    loop = Loop(due={"t"})
    loop.deciding.positions[("source", 0)] = 0
    loop.decide([b"a", b"b:handle", b"c"])
    # The last record decided is the last committed, and no timer has committed beyond it before.
    assert loop.broker.offsets == {("source", 0): 3}
    assert loop.deciding.positions == {("source", 0): 3}
    assert loop.broker.of("source.dlq") == [b"b:handle"]
