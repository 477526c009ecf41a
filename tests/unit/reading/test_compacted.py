"""Compacted topics are read on from where the last reading ended; on librdkafka's mock cluster."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from reading.cluster import Cluster
from reading.compacted import CompactedTopic, Unavailable
from reading.procedures import Applied, of_tenant, take
from runtime.settings import CommonSettings
from streams.topics import PROCEDURES


@pytest.fixture
def producer() -> Iterator[Producer]:
    yield Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})


def settings(producer: Producer) -> CommonSettings:
    broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
    return CommonSettings(bootstrap_servers=f"{broker.host}:{broker.port}")


def put(producer: Producer, name: str, plan: Any, tenant: str = "default") -> None:
    record = {"tenant": tenant, "name": name, "version": "1", "plan": plan}
    producer.produce(
        PROCEDURES.name, key=f"{tenant}/{name}".encode(), value=orjson.dumps(record), partition=0
    )
    assert producer.flush(10) == 0


def names(topic: CompactedTopic[Applied], tenant: str = "default") -> list[str]:
    return list(of_tenant(topic.read().items, tenant))


def test_the_latest_of_each_key_is_told(producer: Producer) -> None:
    put(producer, "b", {"steps": []})
    put(producer, "a", {"steps": []})
    put(producer, "a", {"steps": []}, tenant="other")
    topic = CompactedTopic(settings(producer), PROCEDURES, take, age=0.0)
    assert names(topic) == ["a", "b"]
    assert names(topic, "other") == ["a"]
    assert names(topic, "nobody") == []
    first = topic.read()
    put(producer, "b", None)
    producer.produce(PROCEDURES.name, key=b"default/x", value=b"{no json", partition=0)
    # Its key is of another one than it says.
    producer.produce(PROCEDURES.name, key=b"default/y", value=b'{"name": "z"}', partition=0)
    producer.produce(PROCEDURES.name, key=b"other/a", value=None, partition=0)
    assert producer.flush(10) == 0
    assert names(topic) == ["a"]
    assert names(topic, "other") == []
    # What somebody holds does not change under them.
    assert list(of_tenant(first.items, "default")) == ["a", "b"]
    topic.close()


def test_an_answer_counts_for_its_age(producer: Producer) -> None:
    put(producer, "a", {"steps": []})
    topic = CompactedTopic(settings(producer), PROCEDURES, take, age=3_600.0)
    first = topic.read()
    put(producer, "b", {"steps": []})
    assert topic.read() is first
    topic.close()


def test_a_broker_that_is_away_is_waited_for_once() -> None:
    away = CommonSettings(bootstrap_servers="127.0.0.1:9")
    topic = CompactedTopic(away, PROCEDURES, take, age=60.0)
    cluster = Cluster(away)
    for ask in (topic.read, cluster.brokers):
        with pytest.raises(Unavailable):
            ask()
        began = perf_counter()
        for _ in range(100):
            with pytest.raises(Unavailable):
                ask()
        assert perf_counter() - began < 1.0


def test_a_topic_that_is_not_there_says_what_to_do(producer: Producer) -> None:
    known = settings(producer)
    prefixed = known.model_copy(update={"topic_prefix": "none."})
    topic = CompactedTopic(prefixed, PROCEDURES, take)
    with pytest.raises(Unavailable, match=r"none\.execution\.procedures"):
        topic.read()
