"""Ready means that records are being decided, not that a session has begun."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from runtime.health import Health
from runtime.kafka.outage import Outage
from runtime.kafka.processor import IDLE_SECONDS, Processor
from runtime.readiness import Readiness
from runtime.settings import CommonSettings
from streams.topics import REQUESTS, ROUTER_STATE


class Answering:
    """A consumer of which only the probe is asked."""

    def __init__(self) -> None:
        self.answers = True

    def list_topics(self, timeout: float) -> None:
        if not self.answers:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


class LoopStatus:
    """The loop's reports to the health port, one turn at a time, with a clock of the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("runtime.clock.monotonic", lambda: self.now)
        log: Any = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
        self.health = Health(("kafka",))
        self.outage = Outage(Readiness("kafka", ("loop",), self.health, log), "loop")
        unused: Any = None
        self.processor = Processor(
            CommonSettings(), log, self.health, "g", (REQUESTS,), (ROUTER_STATE,), unused
        )
        self.consumer = Answering()

    def turn(self, *, records: int = 0, seconds: float = 0.0) -> bool:
        """A turn that committed this many records; returns whether the port says ready."""
        self.now += seconds
        batch = [Message(topic="source", offset=at) for at in range(records)]
        deciding: Any = self
        self.processor._report(batch, deciding, self.outage)
        return self.health.response("/readyz")[0] == 200


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch) -> LoopStatus:
    return LoopStatus(monkeypatch)


def test_a_new_member_is_ready_once_its_partitions_are_restored(status: LoopStatus) -> None:
    assert not status.turn()
    status.processor._is_member = True
    status.processor._assigned = {1}
    assert not status.turn()
    status.processor._assigned = set()
    assert status.turn()


def test_a_session_that_begins_anew_again_and_again_is_not_ready(status: LoopStatus) -> None:
    status.processor._is_member = True
    assert status.turn()
    for _ in range(5):
        status.outage.failed(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        status.processor._idle_since = None  # as each new session does
        # Assigned and restored, nothing read yet; then comes the batch that fails again.
        assert not status.turn(seconds=0.5)
        assert not status.turn(seconds=0.5)
    assert status.turn(records=1)


def test_after_a_failure_idle_is_ready_only_if_the_broker_answers(status: LoopStatus) -> None:
    status.processor._is_member = True
    assert status.turn()
    status.processor._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    status.consumer.answers = False
    assert not status.turn()
    assert not status.turn(seconds=IDLE_SECONDS + 1)
    status.consumer.answers = True
    assert not status.turn(seconds=0.1)
    assert status.turn(seconds=0.1)
