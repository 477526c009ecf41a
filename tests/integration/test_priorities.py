"""A thousand steps wait for four slots: in which order they start, and what a SIGKILL changes."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from processors.executors.claimed_offsets import ClaimedOffsets
from processors.executors.turns import LEVEL_SECONDS
from runtime.kafka.offsets import note_of
from streams.topics import EXECUTORS_CONTROL, OUTPUT, REPORTS, STEPS, dead_letter_topic
from tests.brokers import client_options
from tests.integration.executor_lab import ExecutorLab, lab

BULK = STEPS["test", "bulk"]
NEEDED = (
    BULK,
    STEPS["test", "immediate"],
    dead_letter_topic(BULK),
    REPORTS,
    OUTPUT,
    EXECUTORS_CONTROL,
)
SLOTS = 4
WAITING = 1_000
#: The shortest session that the broker allows.
SESSION = {"session.timeout.ms": 6_000}


@pytest.fixture
def executors(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[ExecutorLab]:
    with lab(kafka, topics(*NEEDED), tmp_path) as made:
        yield made


def behind_full_slots(executors: ExecutorLab) -> tuple[list[str], dict[str, int]]:
    """Hold all slots, send a thousand commands of all priorities in no order, free the slots.

    Gives the executions that held the slots, and the others with their priorities.
    """
    held = [executors.command("sleep", parameters={"seconds": 50}) for _ in range(SLOTS)]
    for command in held:
        executors.send(command)
    executors.until(lambda: sum(executors.ledger().values()) == SLOTS)
    priorities = [1 + number % 10 for number in range(WAITING)]
    random.Random(11).shuffle(priorities)
    began = time.monotonic()
    sent = {executors.send(executors.command(priority=one), flush=False): one for one in priorities}
    executors.flush()
    assert time.monotonic() - began < LEVEL_SECONDS, "so long counts more than a level"
    for command in held:
        executors.cancel(command)
    return [str(command["execution_id"]) for command in held], sent


def claimed_ahead(executors: ExecutorLab) -> int:
    """How many commands are claimed before one of lower offset, as the group has committed it."""
    group = f"{executors.prefix}runstream-executor-test-bulk"
    # A killed executor may have left a transaction open; what was committed before it counts.
    options: dict[str, Any] = {"group.id": group, "isolation.level": "read_uncommitted"}
    consumer = Consumer({**client_options(executors.bootstrap), **options})
    topic = executors.prefix + BULK.name
    try:
        found = consumer.committed([TopicPartition(topic, n) for n in range(BULK.partitions)], 10)
        ends = [consumer.get_watermark_offsets(one, timeout=10)[1] for one in found]
    finally:
        consumer.close()
    return sum(
        offset in ClaimedOffsets(one.offset, note_of(one))
        for one, end in zip(found, ends, strict=True)
        for offset in range(one.offset, end)
    )


@pytest.mark.timeout(120)
def test_a_thousand_waiting_steps_start_by_priority(executors: ExecutorLab) -> None:
    executors.start(concurrency=SLOTS)
    held, priorities = behind_full_slots(executors)
    executors.until(lambda: executors.count("succeeded") == WAITING)
    # The ledger has the steps in the order in which they acted, each once.
    assert executors.ledger() == Counter([*held, *priorities])
    acted = [priorities[one] for one in executors.ledger() if one in priorities]
    assert len(acted) == WAITING
    for number, priority in enumerate(acted[SLOTS:]):
        # So many act at once.
        assert priority >= max(acted[: number + 1]), (number, acted)
    assert claimed_ahead(executors) == 0


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_kill_between_claims_out_of_order_loses_none_and_starts_none_twice(
    executors: ExecutorLab,
) -> None:
    process = executors.start(concurrency=SLOTS, kafka_options=SESSION)
    held, priorities = behind_full_slots(executors)
    skipped: list[int] = []
    for share in (0.3, 0.6):
        goal = SLOTS + share * WAITING
        executors.until(lambda goal=goal: executors.count("started") >= goal)  # type: ignore[misc]
        process.kill()
        process.wait(10)
        skipped.append(claimed_ahead(executors))
        process = executors.start(concurrency=SLOTS, kafka_options=SESSION)
    # So many the next one had to skip, of which it remembers none.
    assert min(skipped) > 100
    executors.until(lambda: executors.count("started") == SLOTS + WAITING)
    claims = Counter(one.execution_id for one in executors.reports if one.type == "started")
    assert claims == Counter([*held, *priorities])
    # Of what a killed process had claimed it may not have begun what held its slots, nothing else.
    executors.until(lambda: len(executors.ledger()) >= WAITING - SLOTS)
    executors.until(lambda: executors.count("succeeded") >= WAITING - 2 * SLOTS)
    ledger = executors.ledger()
    assert max(ledger.values()) == 1 and set(ledger) <= set(claims)
