"""No attempt starts twice and none is forgotten, whatever happens to executors and broker."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from devstack.kafka import KafkaServer
from streams import ids
from streams.reports import Failed
from streams.topics import EXECUTORS_CONTROL, OUTPUT, REPORTS, STEPS, dead_letter_topic
from tests.brokers import client_options, remember
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


@pytest.fixture
def executors(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[ExecutorLab]:
    with lab(kafka, topics(*NEEDED), tmp_path) as made:
        yield made


def starts(executors: ExecutorLab) -> Counter[str]:
    """How often each execution's attempt was claimed."""
    return Counter(one.execution_id for one in executors.reports if one.type == "started")


def all_done(executors: ExecutorLab, sent: list[str]) -> bool:
    """Whether every one of them has succeeded."""
    return executors.count("succeeded") == len(sent)


def test_a_cancel_behind_an_open_transaction_is_known_before_the_first_claim(
    executors: ExecutorLab,
) -> None:
    cancelled = executors.command()
    names = {name: cancelled[name] for name in ("execution_id", "step", "attempt")}
    hanging = Producer(
        {
            **client_options(executors.bootstrap),
            "transactional.id": f"{executors.prefix}hanging",
            "partitioner": "murmur2_random",
        }
    )
    hanging.init_transactions(20)
    hanging.begin_transaction()
    topic = executors.prefix + EXECUTORS_CONTROL.name
    hanging.produce(topic, value=b"{}", key=ids.attempt_id(**names).encode())
    hanging.flush(20)
    executors.cancel(cancelled)
    executors.send(cancelled)
    executors.start()
    time.sleep(5)  # the fault itself: the transaction stays open while the executor starts
    hanging.abort_transaction(20)
    executors.until(lambda: bool(executors.kinds(cancelled["execution_id"])))
    assert executors.kinds(cancelled["execution_id"]) == ["refused"]
    assert not executors.ledger()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_killed_executors_start_nothing_twice(executors: ExecutorLab) -> None:
    seed = 20261120
    chance = random.Random(seed)
    sent: list[str] = []
    for _ in range(6):
        process = executors.start()
        goal = executors.count("started") + 20
        sent += [executors.send(executors.command()) for _ in range(60)]
        executors.until(lambda goal=goal: executors.count("started") >= goal)  # type: ignore[misc]
        sent += [executors.send(executors.command()) for _ in range(60)]
        time.sleep(chance.uniform(0, 0.02))  # the random moment of the fault, not a wait
        process.kill()
        process.wait(10)
    executors.start()
    executors.until(lambda: len(starts(executors)) == len(sent), 90)
    assert starts(executors) == Counter(sent), f"seed {seed}"
    # The last instance was not killed: what it claimed it ends.
    own = {one.execution_id for one in executors.reports if one.type == "succeeded"}
    executors.until(
        lambda: set(executors.ledger()) <= {o.execution_id for o in executors.reports}, 30
    )
    ledger = executors.ledger()
    assert max(ledger.values()) == 1, f"seed {seed}"
    assert own <= set(ledger) <= set(sent)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_instances_that_come_and_go_start_nothing_twice(
    executors: ExecutorLab, protocol: str
) -> None:
    executors.start("one", group_protocol=protocol)
    sent: list[str] = []

    def send(count: int) -> None:
        for number in range(count):
            sent.append(executors.send(executors.command()))
            if number % 10 == 0:
                executors.until(lambda: True)

    send(100)
    second = executors.start("two", group_protocol=protocol)
    # Keep sending until the second has got its share, so that the hand-over happens under load.
    deadline = time.monotonic() + 60
    while not any(one.executor == "two" for one in executors.reports):
        assert time.monotonic() < deadline
        send(20)
        executors.until(lambda: True)
        for _ in range(3):
            executors.until(lambda: executors.count("started") >= len(sent) - 500)
    send(200)
    second.send_signal(signal.SIGTERM)
    send(100)
    assert second.wait(40) == 0
    executors.until(lambda: executors.count("succeeded") == len(sent), 60)
    assert starts(executors) == Counter(sent)
    assert executors.ledger() == Counter(sent)


def test_a_frozen_executor_begins_nothing_after_its_lease(executors: ExecutorLab) -> None:
    process = executors.start(target_concurrency=1)
    first, second = (
        executors.send(
            executors.command("sleep", target="db-01", parameters={"seconds": 3}, lease_seconds=1.5)
        )
        for _ in range(2)
    )
    executors.until(lambda: executors.count("started") == 2)
    executors.until(lambda: sum(executors.ledger().values()) == 1)
    process.send_signal(signal.SIGSTOP)
    time.sleep(4)  # the fault itself: longer than the lease
    process.send_signal(signal.SIGCONT)
    executors.until(lambda: executors.count("failed") == 1)
    (failed,) = [one for one in executors.reports if isinstance(one, Failed)]
    assert failed.error["class"] == "lease_lost" and failed.error["transient"]
    assert executors.ledger()[failed.execution_id] == 0
    assert {first, second} == {failed.execution_id, *executors.ledger()}


@pytest.mark.slow
def test_a_step_longer_than_the_poll_interval_is_run_once(executors: ExecutorLab) -> None:
    executors.start(
        concurrency=1, kafka_options={"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}
    )
    slow = executors.send(executors.command("sleep", parameters={"seconds": 9}))
    executors.until(lambda: executors.ledger()[slow] == 1)
    waiting = [executors.send(executors.command()) for _ in range(20)]
    executors.until(lambda: executors.count("succeeded") == 21, 40)
    assert starts(executors) == Counter([slow, *waiting])
    assert executors.ledger() == Counter([slow, *waiting])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_processes_of_one_name_give_way_to_the_newer(executors: ExecutorLab) -> None:
    older = executors.start("twin")
    sent = [executors.send(executors.command()) for _ in range(5)]
    executors.until(lambda: executors.count("succeeded") == 5)
    newer = executors.start("twin")
    deadline = time.monotonic() + 60
    while older.poll() is None and newer.poll() is None:
        assert time.monotonic() < deadline, "neither gave way"
        sent += [executors.send(executors.command()) for _ in range(5)]
        executors.until(partial(all_done, executors, sent), 60)
    assert older.wait(30) == 1 and newer.poll() is None
    sent += [executors.send(executors.command()) for _ in range(20)]
    executors.until(lambda: executors.count("succeeded") == len(sent), 60)
    assert starts(executors) == Counter(sent) == executors.ledger()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_broker_that_dies_is_waited_for(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path / "kafka")
    server.start()
    remember(server.client_options)
    try:
        admin = AdminClient(client_options(server.bootstrap_servers))
        topics = [NewTopic("b." + one.name, one.partitions, 1) for one in NEEDED]
        for future in admin.create_topics(topics).values():
            future.result(30)
        with lab(server.bootstrap_servers, "b.", tmp_path) as executors:
            process = executors.start()
            running = executors.send(executors.command("sleep", parameters={"seconds": 3}))
            executors.until(lambda: executors.ledger()[running] == 1)
            server.kill()
            time.sleep(5)  # the fault itself: the step ends meanwhile
            assert process.poll() is None
            server.start()
            later = [executors.send(executors.command()) for _ in range(20)]
            executors.until(lambda: executors.count("succeeded") == 21, 60)
            assert starts(executors) == Counter([running, *later]) == executors.ledger()
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0
            log = (tmp_path / "one.log").read_text()
            reported = [line for line in log.splitlines() if '"event": "waiting"' in line]
            assert len(reported) <= 2, log  # one of the lanes, one of the reader of cancels
    finally:
        server.stop()
