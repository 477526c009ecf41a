"""Why Kafka cannot be worked with, and how long to wait."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError

from runtime.health import Health
from runtime.kafka.outage import WAITS_SECONDS, InstanceNameTaken, Outage
from runtime.readiness import Readiness


class Lines:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    warning = info


def outage(member: str = "loop") -> tuple[Outage, Health, Lines]:
    health, lines = Health(("kafka",)), Lines()
    log: Any = lines
    return Outage(Readiness("kafka", (member,), health, log), member), health, lines


@pytest.mark.parametrize(
    "code, sentence",
    [
        (KafkaError._ALL_BROKERS_DOWN, "the broker does not answer"),
        (KafkaError._TIMED_OUT, "the broker does not answer"),
        (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            "the broker does not allow it (TOPIC_AUTHORIZATION_FAILED)",
        ),
        (KafkaError._AUTHENTICATION, "the broker refuses the login (_AUTHENTICATION)"),
        (KafkaError._FENCED, "another process with the same instance name has taken over"),
        (KafkaError.ILLEGAL_GENERATION, "the consumer group has given the partitions to another"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "a topic is missing"),
        (KafkaError.MSG_SIZE_TOO_LARGE, "Kafka reports an error (MSG_SIZE_TOO_LARGE)"),
    ],
)
def test_each_kind_of_trouble_has_its_own_sentence(code: int, sentence: str) -> None:
    one, health, lines = outage()
    one.failed(KafkaError(code))
    why = health.response("/readyz")[1]["waiting"]["kafka"]
    assert why.startswith(sentence)
    assert [(event, fields["why"]) for event, fields in lines.lines] == [("waiting", why)]


def test_the_wait_grows_and_begins_anew_after_a_success() -> None:
    one, health, lines = outage()
    waits = [one.failed(KafkaError(KafkaError._TRANSPORT)) for _ in range(8)]
    assert all(
        0.8 * expected <= wait <= 1.2 * expected
        for wait, expected in zip(waits, [*WAITS_SECONDS, *[WAITS_SECONDS[-1]] * 3], strict=False)
    )
    one.recovered()
    assert health.response("/readyz")[0] == 200
    assert one.failed(KafkaError(KafkaError._TRANSPORT)) <= 1.2 * WAITS_SECONDS[0]
    # Said once each, not once an attempt.
    assert [event for event, _ in lines.lines] == ["waiting", "works again", "waiting"]


@pytest.mark.parametrize(("worked", "endured"), [(60.0, 2), (0.5, 5), (None, 5)])
def test_two_processes_of_one_name_are_told_and_the_older_gives_way(
    monkeypatch: pytest.MonkeyPatch, worked: float | None, endured: int
) -> None:
    now = [1_000.0]
    monkeypatch.setattr("runtime.clock.monotonic", lambda: now[0])
    one, _, _ = outage()
    if worked is not None:
        one.recovered()
        now[0] += worked
    for _ in range(endured):
        one.failed(KafkaError(KafkaError._FENCED))
        one.recovered()
        now[0] += 1
    with pytest.raises(InstanceNameTaken):
        one.failed(KafkaError(KafkaError._FENCED))


def test_a_process_that_has_settled_is_no_longer_the_newer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_000.0]
    monkeypatch.setattr("runtime.clock.monotonic", lambda: now[0])
    one, _, _ = outage()
    for _ in range(4):
        one.failed(KafkaError(KafkaError._FENCED))
        one.recovered()
    now[0] += 120
    for _ in range(2):
        one.failed(KafkaError(KafkaError._FENCED))
        one.recovered()
    with pytest.raises(InstanceNameTaken):
        one.failed(KafkaError(KafkaError._FENCED))


def test_a_part_is_ready_when_all_its_members_are() -> None:
    health = Health(("kafka",))
    log: Any = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
    readiness = Readiness("kafka", ("a", "b"), health, log)
    readiness.ready("a")
    assert health.response("/readyz")[0] == 503
    readiness.ready("b")
    assert health.response("/readyz")[0] == 200


def test_members_that_wait_for_different_reasons_in_turn_log_each_once() -> None:
    lines = Lines()
    log: Any = lines
    readiness = Readiness("kafka", ("a", "b"), Health(("kafka",)), log)
    for _ in range(3):
        readiness.waiting("a", "not reachable")
        readiness.waiting("b", "moved")
    assert [fields["why"] for _, fields in lines.lines] == ["not reachable", "moved"]


def test_an_error_that_is_older_than_the_answer_does_not_begin_a_second_outage() -> None:
    one, health, lines = outage()
    down = KafkaError(KafkaError._ALL_BROKERS_DOWN)
    one.report(down)
    one.answered()
    one.report(down)  # was in the queue of the client while the probe was answered
    one.answered()
    assert health.response("/readyz")[0] != 200
    one.answered()
    assert health.response("/readyz")[0] == 200
    assert [event for event, _ in lines.lines] == ["waiting", "works again"]
    one.report(down)
    one.answered()
    assert health.response("/readyz")[0] != 200
