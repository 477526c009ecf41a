"""The lag of consumer groups: how many records a member has still to read, without a request.

The ends are those that the broker has sent with the last fetch. A transaction ends with a marker,
which has an offset and is never read, so one record behind the end counts as none. Records of an
aborted transaction count until others follow them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition
from prometheus_client import Gauge

from runtime import clock

LAG: Final = Gauge(
    "runstream_consumer_lag_records",
    "Records that this member of a consumer group has still to read",
    ["group", "topic"],
)
#: How often the ends are looked at.
_SECONDS: Final = 5.0
#: The offset of a transaction's marker.
MARKER: Final = 1


def behind(positions: Iterable[TopicPartition], consumer: Any) -> dict[str, int]:
    """How far these positions are from the ends, by full topic name."""
    found: dict[str, int] = {}
    for one in positions:
        found.setdefault(one.topic, 0)
        try:
            _, end = consumer.get_watermark_offsets(one, cached=True)
        except KafkaException:
            continue
        left = end - one.offset
        if end >= 0 and one.offset >= 0 and left > MARKER:
            found[one.topic] += left
    return found


@dataclass(slots=True)
class ConsumerLag:
    """The lag of one member, shown by the names of its group and topics without the prefix."""

    group: str
    prefix: str = ""
    _shown: set[str] = field(default_factory=set)
    _due_at: float = 0.0

    def is_due(self) -> bool:
        """Whether it is time to look at the ends again; then it is not for a while."""
        now = clock.monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + _SECONDS
        return True

    def sample(self, consumer: Any, more: Mapping[str, int] | None = None) -> None:
        """Look at the assigned partitions, if that is due; by the thread that has the consumer.

        `more` says by full topic name how many records were read and are not worked on.
        """
        if not self.is_due():
            return
        try:
            positions = consumer.position(consumer.assignment())
        except KafkaException:
            return
        found = behind(positions, consumer)
        for topic, count in (more or {}).items():
            found[topic] = found.get(topic, 0) + count
        self.show(found)

    def show(self, found: Mapping[str, int]) -> None:
        """Show this, and nothing of topics that are not read here any more."""
        named = {topic.removeprefix(self.prefix): count for topic, count in found.items()}
        group = self.group.removeprefix(self.prefix)
        for topic in self._shown - named.keys():
            LAG.remove(group, topic)
        self._shown = set(named)
        for topic, count in named.items():
            LAG.labels(group, topic).set(count)
