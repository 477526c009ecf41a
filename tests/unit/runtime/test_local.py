"""What a decision sends to a partition of the same process is decided about with it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.kafka.local import MAX_LOCAL
from streams.ids import partition_for
from streams.topics import EVENTS, LOCK_COMMANDS, ROUTER_STATE
from tests.unit.runtime.ledger_partition import PLACES, FakeBroker, Loop

#: Records that fail, end well, or send another one, here or to a partition of another process.
TEXTS = st.recursive(
    st.sampled_from(["a", "b", "c:handle", "d:flush"]),
    lambda asked: st.builds(
        "{}:{}-{}".format, st.sampled_from("ab"), st.sampled_from(sorted(PLACES)), asked
    ),
    max_leaves=3,
)


def local_loop(broker: FakeBroker | None = None) -> Loop:
    loop = Loop(broker, local=(LOCK_COMMANDS.name,))
    loop.deciding.positions[LOCK_COMMANDS.name, 0] = 7
    return loop


def read_the_topic(loop: Loop) -> None:
    seen = 0
    while len(asked := loop.broker.of(LOCK_COMMANDS.name)) > seen:
        found, seen = asked[seen:], len(asked)
        loop.decide([value or b"" for value in found])


def state(broker: FakeBroker) -> dict[bytes | None, bytes | None]:
    return {key: value for name, key, value in broker.committed if name == ROUTER_STATE.name}


def test_the_keys_lie_where_their_names_say() -> None:
    numbers = {name: partition_for(key, LOCK_COMMANDS.partitions) for name, key in PLACES.items()}
    assert numbers["here"] == 0 != numbers["elsewhere"]


def test_it_is_in_the_same_transaction_and_not_in_the_topic() -> None:
    loop = local_loop()
    loop.decide([b"a:here-b:here-c"])
    assert loop.broker.of(EVENTS.name) == [b"a:here-b:here-c", b"b:here-c", b"c"]
    assert loop.broker.of(LOCK_COMMANDS.name) == []
    assert state(loop.broker) == {b"a": b"1", b"b": b"1", b"c": b"1"}
    assert loop.broker.commits == 1
    # Its topic stays where it was, and whoever has the partition next waits for the transaction.
    assert loop.broker.offsets == {("source", 0): 1, (LOCK_COMMANDS.name, 0): 7}


def test_one_for_a_partition_elsewhere_goes_to_its_topic() -> None:
    loop = local_loop()
    loop.decide([b"a:elsewhere-b"])
    assert loop.broker.of(LOCK_COMMANDS.name) == [b"b"]
    assert loop.broker.of(EVENTS.name) == [b"a:elsewhere-b"]


def test_one_that_cannot_be_decided_about_costs_no_record_but_itself() -> None:
    loop = local_loop()
    loop.decide([b"a:here-b:handle", b"c"])
    # It lies in its topic, where it becomes a dead letter of its own.
    assert loop.broker.of(LOCK_COMMANDS.name) == [b"b:handle"]
    assert loop.broker.of("source.dlq") == []
    assert state(loop.broker) == {b"a": b"1", b"c": b"1"}


def test_a_record_that_sends_too_many_does_not_make_the_transaction_longer() -> None:
    loop = local_loop()
    loop.decide([b"a:here-b:here-c"] * (MAX_LOCAL // 2 - 1) + [b"a:here-c:here-d:here-e"])
    assert loop.broker.of(LOCK_COMMANDS.name) == [b"e"]
    assert state(loop.broker)[b"c"] == str(MAX_LOCAL // 2).encode()
    assert loop.broker.commits == 1


@pytest.mark.parametrize("at", [0, 1])
def test_a_kill_loses_and_repeats_nothing(at: int) -> None:
    broker = FakeBroker(kill_at=2 + at)  # the first commit is that of the mark
    with pytest.raises(SystemExit):
        local_loop(broker).decide([b"a:here-b"])
    broker.kill_at = None
    broker.open()
    again = local_loop(broker)
    again.decide_from(broker.offsets.get(("source", 0), 0), [b"a:here-b"])
    read_the_topic(again)
    assert state(broker) == {b"a": b"1", b"b": b"1"}


def test_after_a_crash_every_record_is_decided_about_where_it_lies() -> None:
    broker = FakeBroker()
    with pytest.raises(SystemExit):
        local_loop(broker).decide([b"a:here-b:crash"])
    local_loop(broker).decide([b"a:here-b:crash"])
    assert broker.of(LOCK_COMMANDS.name) == [b"b:crash"]


@given(st.lists(TEXTS, max_size=8))
def test_what_is_decided_does_not_depend_on_the_way(texts: list[str]) -> None:
    """Delivered here, or written to the topic and read again: the same totals."""
    here, by_topic = local_loop(), Loop()
    here.decide([text.encode() for text in texts])
    by_topic.decide([text.encode() for text in texts])
    for loop in (here, by_topic):
        read_the_topic(loop)
    assert state(here.broker) == state(by_topic.broker)
    letters = [Counter(loop.broker.of("source.dlq")) for loop in (here, by_topic)]
    assert letters[0] == letters[1]
