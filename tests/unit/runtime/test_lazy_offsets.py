"""Offsets of batches that produced nothing never take back those of a transaction."""

from __future__ import annotations

from typing import Any

from confluent_kafka import TopicPartition

from runtime.kafka.processor import Processor
from tests.unit.runtime.ledger_partition import Committing, Loop
from tests.unit.runtime.test_crashes import WHERE


class Late(Committing):
    """The broker gets what this client sends without waiting only when `arrive` is called.

    librdkafka holds such a commit back while it looks for the group's coordinator, up to the
    session's timeout; the producer of the transactions finds the coordinator by itself.
    """

    def __init__(self, inner: Committing) -> None:
        super().__init__(inner.broker)
        self.sent: list[list[TopicPartition]] = []

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.sent.append(offsets)

    def arrive(self) -> None:
        for offsets in self.sent:
            super().commit(offsets, asynchronous=True)


def test_a_commit_that_comes_late_takes_back_no_transaction() -> None:
    loop = Loop()
    late = Late(loop.consumer)
    loop.deciding.consumer = late
    nothing: Any = None
    processor = Processor(nothing, nothing, nothing, "", (), nothing, nothing)
    loop.decide([b"a:nothing"])
    processor._commit_lazily(loop.deciding)
    loop.decide_from(1, [b"a:nothing", b"b"])
    late.arrive()
    assert loop.broker.offsets == {WHERE: 2}
    assert loop.deciding.offsets == {}
