"""A record on which a decision fails is parked when it comes again, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException

from runtime.health import Health
from runtime.kafka.processor import Output, Processor
from runtime.settings import CommonSettings
from streams.topics import REQUESTS, ROUTER_STATE
from tests.unit.router.simulation import Record


class Choking:
    """A partition with a defect: it cannot decide about `bad`."""

    def __init__(self) -> None:
        self.decided: list[bytes] = []
        self.parked: list[bytes] = []

    def handle(self, message: Any, now: float, out: Output) -> None:
        if message.value() == b"bad":
            raise KeyError("a defect")
        self.decided.append(message.value())

    def dead_letter(self, message: Any, out: Output) -> None:
        self.parked.append(message.value())


def test_a_record_that_is_choked_on_is_parked_the_second_time() -> None:
    partition: Any = Choking()
    processor = Processor(
        settings=CommonSettings(),
        log=structlog.get_logger(),
        health=Health(("kafka",)),
        group="test",
        sources=(REQUESTS,),
        changelog=ROUTER_STATE,
        create=lambda number: partition,
    )
    out: Any = None
    bad: Any = Record(REQUESTS.name, b"bad")
    good: Any = Record(REQUESTS.name, b"good")
    good.offset = lambda: 8
    with pytest.raises(KafkaException) as raised:
        processor._handle(partition, bad, 0.0, out)
    assert raised.value.args[0].code() == KafkaError._APPLICATION
    processor._handle(partition, bad, 0.0, out)
    processor._handle(partition, good, 0.0, out)
    assert (partition.parked, partition.decided) == ([b"bad"], [b"good"])
