"""The lag of a group's member is what it has still to read, by topic."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import REGISTRY

from runtime.kafka.lag import ConsumerLag

GROUP = "runstream-of-this-test"


class Reading:
    """A consumer that has read so far, of partitions with these ends."""

    def __init__(self, **partitions: list[tuple[int, int]]) -> None:
        self.partitions = partitions

    def assignment(self) -> list[TopicPartition]:
        return [
            TopicPartition(f"p.{topic}", number)
            for topic, parts in self.partitions.items()
            for number in range(len(parts))
        ]

    def position(self, wanted: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(one.topic, one.partition, self._of(one)[0]) for one in wanted]

    def get_watermark_offsets(self, one: TopicPartition, cached: bool) -> tuple[int, int]:
        assert cached, "asking the broker for each partition would take the loop's time"
        end = self._of(one)[1]
        if end == -2:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        return 0, end

    def _of(self, one: TopicPartition) -> tuple[int, int]:
        return self.partitions[one.topic.removeprefix("p.")][one.partition]


def shown(topic: str) -> float | None:
    return REGISTRY.get_sample_value(
        "runstream_consumer_lag_records", {"group": GROUP, "topic": topic}
    )


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [100.0]
    monkeypatch.setattr("runtime.clock.monotonic", lambda: moment[0])
    return moment


def test_the_partitions_of_a_topic_are_added_up_and_a_marker_is_no_record(now: list[float]) -> None:
    lag = ConsumerLag(f"p.{GROUP}", "p.")
    reader: Any = Reading(requests=[(5, 105), (7, 8)], reports=[(3, 3)], control=[(-1001, 50)])
    lag.sample(reader)
    assert (shown("requests"), shown("reports"), shown("control")) == (100, 0, 0)


def test_what_is_not_known_counts_as_nothing_and_what_waits_here_counts(now: list[float]) -> None:
    lag = ConsumerLag(f"p.{GROUP}", "p.")
    reader: Any = Reading(steps=[(5, -2), (5, -1001), (5, 9)])
    lag.sample(reader, {"p.steps": 30})
    assert shown("steps") == 34


def test_a_topic_that_went_to_another_member_is_shown_no_more(now: list[float]) -> None:
    lag = ConsumerLag(f"p.{GROUP}", "p.")
    before: Any = Reading(requests=[(0, 900)])
    lag.sample(before)
    after: Any = Reading()
    lag.sample(after)
    assert shown("requests") == 900, "it is not looked at so often"
    now[0] += 6
    lag.sample(after)
    assert shown("requests") is None
