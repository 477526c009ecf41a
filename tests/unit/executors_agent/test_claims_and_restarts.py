"""Whatever is claimed, lost, moved and restarted: each command is claimed once, and none is lost.

A group of two executors as `LaneConsumer` and `Lane` use `ReadAhead`, against a broker in memory
that keeps records and what was committed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from processors.executors import claimed_offsets
from processors.executors.read_ahead import ReadAhead
from runtime.kafka.offsets import CommitMark, note_of
from tests.unit.executors_agent.waiting_commands import TOPIC, waiting

PARTITIONS = 3
#: Small, so that a few records reach it.
CAPACITY = 12

Places = dict[tuple[str, int], int]
Notes = dict[tuple[str, int], str]


@dataclass
class Broker:
    """The records of each partition, and its committed offset with what stands there."""

    records: list[list[Any]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    ends: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    committed: dict[int, TopicPartition] = field(default_factory=dict)
    #: How often each record was claimed by a transaction that was committed.
    claimed: Counter[tuple[int, int]] = field(default_factory=Counter)

    def append(self, number: int, priority: int, at: float, gap: int) -> None:
        place = self.ends[number] + gap
        self.records[number].append(waiting(place, priority, at, number=number))
        self.ends[number] = place + 1

    def commit(self, mark: CommitMark, taken: list[Any], offsets: Places, notes: Notes) -> None:
        for one in mark.next(offsets, notes):
            self.committed[one.partition] = one
        self.claimed.update((one.partition(), one.offset()) for one in taken)


@dataclass
class Member:
    """An executor: what it has, and where its client reads next."""

    broker: Broker
    ahead: ReadAhead = field(default_factory=ReadAhead)
    mark: CommitMark = field(default_factory=CommitMark)
    positions: dict[int, int] = field(default_factory=dict)

    def assign(self, number: int) -> None:
        found = self.broker.committed.get(number, TopicPartition(TOPIC, number))
        self.ahead.open((TOPIC, number), found.offset, note_of(found))
        self.positions[number] = max(found.offset, 0)

    def revoke(self, number: int) -> None:
        self.ahead.drop([(TOPIC, number)])
        del self.positions[number]

    def restart(self) -> None:
        owned = [*self.positions]
        self.ahead, self.mark = ReadAhead(), CommitMark()
        for number in owned:
            self.assign(number)

    def read(self, count: int) -> None:
        for number, position in self.positions.items():
            there = [one for one in self.broker.records[number] if one.at >= position][:count]
            for record in there:
                self.ahead.add(record)
                self.positions[number] = record.at + 1


class Group(RuleBasedStateMachine):
    """Two executors that share the partitions of one lane."""

    @initialize()
    def start(self) -> None:
        self.broker = Broker()
        self.now = 0.0
        self.members = [Member(self.broker), Member(self.broker)]
        for number in range(PARTITIONS):
            self.members[number % 2].assign(number)

    @rule(
        number=st.integers(0, PARTITIONS - 1),
        priorities=st.lists(st.integers(1, 10), min_size=1, max_size=20),
        gap=st.sampled_from([0, 0, 1, 2, 20]),
    )
    def more_commands(self, number: int, priorities: list[int], gap: int) -> None:
        for priority in priorities:
            self.now += 1.0
            self.broker.append(number, priority, self.now, gap)

    @rule(who=st.integers(0, 1), count=st.integers(1, 30))
    def read(self, who: int, count: int) -> None:
        self.members[who].read(count)

    @rule(
        who=st.integers(0, 1),
        count=st.integers(1, 12),
        ends=st.sampled_from(["well", "well", "well", "aborted", "dead before", "dead after"]),
    )
    def claim(self, who: int, count: int, ends: str) -> None:
        member = self.members[who]
        taken = member.ahead.take(count, self.now)
        if not taken:
            return
        offsets, notes = member.ahead.claims(taken)
        assert {where[1] for where in offsets} == {one.partition() for one in taken}
        if ends in ("well", "dead after"):
            self.broker.commit(member.mark, taken, offsets, notes)
        if ends == "aborted":
            # What `LaneConsumer.rewind` does; a process that dies forgets no more.
            for number in [*member.positions]:
                member.assign(number)
        elif ends != "well":
            member.restart()

    @rule(number=st.integers(0, PARTITIONS - 1))
    def the_other_one_takes_over(self, number: int) -> None:
        owner = 0 if number in self.members[0].positions else 1
        self.members[owner].revoke(number)
        self.members[1 - owner].assign(number)

    @rule(who=st.integers(0, 1))
    def killed(self, who: int) -> None:
        self.members[who].restart()

    @invariant()
    def nothing_is_claimed_twice(self) -> None:
        assert all(count == 1 for count in self.broker.claimed.values())

    @invariant()
    def what_is_committed_passes_nothing(self) -> None:
        for number, committed in self.broker.committed.items():
            for record in self.broker.records[number]:
                if record.at < committed.offset:
                    assert self.broker.claimed[number, record.at] == 1
            assert len(note_of(committed)) <= 2 + 4 * ((CAPACITY // 8) // 3 + 1)

    def teardown(self) -> None:
        if not hasattr(self, "broker"):
            return
        for member in self.members:
            while True:
                member.read(50)
                taken = member.ahead.take(5, self.now)
                if not taken:
                    break
                self.broker.commit(member.mark, taken, *member.ahead.claims(taken))
        self.nothing_is_claimed_twice()
        for number, records in enumerate(self.broker.records):
            assert all(self.broker.claimed[number, one.at] == 1 for one in records)
            if records:
                committed = self.broker.committed[number]
                assert committed.offset == self.broker.ends[number] and not note_of(committed)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claimed_offsets, "CAPACITY", CAPACITY)
        yield


TestGroup = Group.TestCase
TestGroup.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
