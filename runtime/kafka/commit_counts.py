"""What a transaction adds to the metrics: nothing before it has committed, and then all of it once.

The decisions of an aborted transaction are made again. Were each counted when it is made, a counter
would show more than the topics hold.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from prometheus_client import Counter, Histogram

from runtime.kafka.offsets import Offsets

_CALL_SECONDS: Final = 10.0


class _Unsettled(NamedTuple):
    """A transaction of unknown outcome: its mark and its offsets."""

    mark: str
    offsets: Offsets
    added: dict[Counter, float]
    observed: list[tuple[Histogram, float]]


class CommitCounts:
    """The counts of the transaction that is open; for the one thread that decides."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._added: dict[Counter, float] = {}
        self._observed: list[tuple[Histogram, float]] = []
        self._unsettled: _Unsettled | None = None

    def add(self, counter: Counter, amount: float = 1) -> None:
        """Count this once the transaction has committed; `counter` is one series."""
        self._added[counter] = self._added.get(counter, 0) + amount

    def observe(self, histogram: Histogram, value: float) -> None:
        """The same for an observation."""
        self._observed.append((histogram, value))

    def committed(self) -> None:
        """The transaction has committed, or there was nothing to commit."""
        _count(self._added, self._observed)
        self.discard()

    def discard(self) -> None:
        """What was decided is decided again, here or elsewhere."""
        self._added, self._observed = {}, []

    def unknown(self, mark: str, offsets: Offsets) -> None:
        """Keep the counts of a transaction that may have committed, until `settle`."""
        self._unsettled = _Unsettled(mark, dict(offsets), self._added, self._observed)
        self.discard()

    def settle(self, consumer: Consumer) -> bool:
        """Find out by the committed offsets whether the transaction of `unknown` has committed.

        To be called after the next producer is open, which ends that transaction, and before
        anything else is committed here. False where nobody can tell any more, since another
        process has meanwhile committed to all of the same partitions: then nothing is counted.
        Raises KafkaException where the broker does not respond, and then it must be called again.
        """
        if self._unsettled is None:
            return True
        mark, offsets, added, observed = self._unsettled
        found = consumer.committed([TopicPartition(*at) for at in offsets], timeout=_CALL_SECONDS)
        for one in found:
            if one.error is not None:
                raise KafkaException(one.error)
        self._unsettled = None
        if any((one.metadata or "").partition(" ")[0] == mark for one in found):
            _count(added, observed)
            return True
        return any(one.offset < offsets[one.topic, one.partition] for one in found)


def _count(added: dict[Counter, float], observed: list[tuple[Histogram, float]]) -> None:
    for counter, amount in added.items():
        counter.inc(amount)
    for histogram, value in observed:
        histogram.observe(value)
