"""The projector process on a real broker: committed events in, snapshots out, killed in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devstack.kafka import KafkaServer
from streams.envelope import header
from streams.events import Event, encode_event
from streams.ids import mint_execution_id, partition_for, route_key, route_of
from streams.progress import ProgressSnapshot
from streams.topics import EVENTS, PROGRESS
from tests import brokers
from tests.brokers import client_options, remember
from tests.integration.groups import shares
from tests.unit.progress.histories import Log

DEADLINE_SECONDS = 40.0


class Bench:
    """One test's own topics, with a projector process that can be started and killed."""

    def __init__(
        self,
        bootstrap: str,
        log: Path,
        instance: str = "projector-1",
        prefix: str | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.log = log
        self.instance = instance
        self.prefix = prefix or f"p{uuid.uuid4().hex[:10]}."
        self.producer = Producer({**client_options(bootstrap), "linger.ms": 5})
        self.process: subprocess.Popen[bytes] | None = None

    def create_topics(self) -> None:
        admin = AdminClient(client_options(self.bootstrap))
        new = [
            NewTopic(self.prefix + topic.name, topic.partitions, 1, config=topic.config())
            for topic in (EVENTS, PROGRESS)
        ]
        for done in admin.create_topics(new).values():
            done.result(20)

    def start(self) -> subprocess.Popen[bytes]:
        environment = {
            **{name: value for name, value in os.environ.items() if "RUNSTREAM" not in name},
            **brokers.environment(self.bootstrap),
            "RUNSTREAM_TOPIC_PREFIX": self.prefix,
            "RUNSTREAM_INSTANCE": self.instance,
            "RUNSTREAM_LOG_FORMAT": "json",
            "PYTHONWARNINGS": "error::DeprecationWarning",
        }
        with self.log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "processors.progress.app"], env=environment, stderr=stderr
            )
        return self.process

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)

    def start_stopping(self) -> subprocess.Popen[bytes]:
        """Ask for a graceful stop."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process

    def terminate(self) -> tuple[int, str]:
        """Exit code and log of a graceful stop."""
        return self.start_stopping().wait(30), self.log.read_text()

    def emit(self, *events: Event, producer: Producer | None = None) -> None:
        for event in events:
            self.emit_raw(route_of(event.execution_id).encode(), encode_event(event), producer)
        if producer is None:
            assert self.producer.flush(20) == 0

    def emit_raw(self, key: bytes, value: bytes | None, producer: Producer | None = None) -> None:
        (producer or self.producer).produce(
            self.prefix + EVENTS.name,
            key=key,
            value=value,
            partition=partition_for(key, EVENTS.partitions),
        )

    def snapshots(self) -> dict[str, list[ProgressSnapshot]]:
        """Every snapshot on the topic now, by execution, oldest first; keys and headers checked."""
        consumer = Consumer(
            {
                **client_options(self.bootstrap),
                "group.id": "unused",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
            }
        )
        topic = self.prefix + PROGRESS.name
        consumer.assign(
            [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PROGRESS.partitions)]
        )
        found: dict[str, list[ProgressSnapshot]] = {}
        ends = 0
        deadline = time.monotonic() + DEADLINE_SECONDS
        try:
            while ends < PROGRESS.partitions:
                assert time.monotonic() < deadline, "the progress topic does not end"
                message = consumer.poll(1.0)
                if message is None:
                    continue
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ends += 1
                    continue
                value, key = message.value(), message.key()
                assert isinstance(value, bytes)
                assert isinstance(key, bytes)
                shot = ProgressSnapshot.model_validate_json(value)
                headers: Any = message.headers()
                assert key.decode() == shot.execution_id == header(headers, "ce_subject")
                found.setdefault(shot.execution_id, []).append(shot)
        finally:
            consumer.close()
        return found

    def wait_for_log(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def wait(
        self, condition: Callable[[dict[str, list[ProgressSnapshot]]], bool]
    ) -> dict[str, list[ProgressSnapshot]]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            found = self.snapshots()
            if condition(found):
                return found
            assert self.process is None or self.process.poll() is None, "the projector ended"
            assert time.monotonic() < deadline, {k: v[-1] for k, v in found.items()}
            time.sleep(0.1)


@pytest.fixture
def bench(kafka: str, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(kafka, tmp_path / "projector.log")
    yield made
    made.kill()


def execution(number: int) -> str:
    return mint_execution_id(route_key("acme", f"plan-{number}"), 1_800_000_000_000, number)


def history(execution_id: str, steps: int = 3) -> list[Event]:
    """A plan of `steps` steps from its acceptance to its completion, as the router tells it."""
    log = Log(execution_id, begun=time.time() - 1.0)
    names = [f"s{n}" for n in range(steps)]
    log.accept(names, sla_seconds=3_600.0, sla_class="medium")
    log.add("execution.started", seconds=0.01)
    for name in names:
        log.run(name, seconds=0.1)
    log.add("execution.completed", seconds=0.01)
    return log.events


def until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)


def ended(found: dict[str, list[ProgressSnapshot]]) -> set[str]:
    return {ident for ident, shots in found.items() if shots[-1].percent == 100}


def test_waits_for_topics_then_shows_committed_events_only_and_survives_poison(
    bench: Bench,
) -> None:
    bench.start()  # Before its topics exist: it waits and says so.
    good, doomed = execution(1), execution(2)
    bench.wait_for_log("waiting for Kafka")
    bench.create_topics()
    bench.emit(*history(good)[:5])
    bench.wait(lambda found: good in found)

    aborting = Producer(
        {**client_options(bench.bootstrap), "transactional.id": f"{bench.prefix}abort"}
    )
    aborting.init_transactions(20)
    aborting.begin_transaction()
    bench.emit(*history(doomed), producer=aborting)
    aborting.flush(20)
    aborting.abort_transaction(20)

    route = route_of(good).encode()
    for poison in (b"\xff\xfe", b"", b"[" * 50_000, b'{"seq":1}', None):
        bench.emit_raw(route, poison)
    assert bench.producer.flush(20) == 0
    aborting.begin_transaction()
    bench.emit(*history(good)[5:], producer=aborting)
    aborting.commit_transaction(20)

    found = bench.wait(lambda found: good in ended(found))
    last = found[good][-1]
    assert (last.status, last.counts, last.seq) == ("completed", {"succeeded": 3}, 12)
    percents = [shot.percent for shot in found[good]]
    assert percents == sorted(percents)
    assert percents.count(100) == 1
    assert doomed not in found

    code, log = bench.terminate()
    assert code == 0
    assert log.count("waiting for Kafka") == 1
    assert log.count("an event is skipped") == 5
    assert "Traceback" not in log
    assert "DeprecationWarning" not in log


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_snapshots(bench: Bench) -> None:
    bench.create_topics()
    ids = [execution(number) for number in range(40)]
    histories = {ident: history(ident, steps=1 + number % 5) for number, ident in enumerate(ids)}
    bench.start()
    for ident in ids:
        bench.emit(*histories[ident][:4])
    bench.wait(lambda found: len(found) == len(ids))

    # Half of them end, some of that while nobody looks; each event comes twice.
    for ident in ids[::2]:
        bench.emit(*histories[ident][2:], *histories[ident][3:])
    bench.kill()
    for ident in ids[1:30:2]:
        bench.emit(*histories[ident][4:])
    bench.start()
    bench.wait(lambda found: len(ended(found)) >= len(ids[::2]) + 15)
    bench.kill()
    for ident in ids[31::2]:
        bench.emit(*histories[ident][4:])
    bench.start()
    found = bench.wait(lambda found: ended(found) == set(ids))

    for ident in ids:
        percents = [shot.percent for shot in found[ident]]
        assert percents == sorted(percents)
        last, first_event, last_event = found[ident][-1], histories[ident][0], histories[ident][-1]
        steps = 1 + ids.index(ident) % 5
        assert (last.seq, last.total_steps) == (len(histories[ident]), steps)
        assert last.counts == {"succeeded": steps}
        elapsed = last_event.unix() - first_event.unix()
        assert last.elapsed_seconds == pytest.approx(elapsed, abs=0.002)

    assert bench.terminate()[0] == 0


def test_one_that_stops_hands_its_partitions_over_at_once(bench: Bench, tmp_path: Path) -> None:
    bench.create_topics()
    other = Bench(bench.bootstrap, tmp_path / "other.log", "projector-2", bench.prefix)
    admin = AdminClient(client_options(bench.bootstrap))
    group = f"{bench.prefix}runstream-projector"
    half, whole = EVENTS.partitions // 2, EVENTS.partitions
    ids = [execution(number) for number in range(16)]
    histories = {ident: history(ident) for ident in ids}
    try:
        bench.start()
        other.start()
        until(lambda: shares(admin, group) == [half, half], "both have partitions")
        for ident in ids:
            bench.emit(*histories[ident][:4])
        bench.wait(lambda found: len(found) == len(ids))
        process = bench.start_stopping()
        for ident in ids:
            bench.emit(*histories[ident][4:])
        # Well below the session of 6 s: it leaves the group instead of letting it run out.
        until(lambda: shares(admin, group) == [whole], "the first one leaves", seconds=4.0)
        found = other.wait(lambda found: ended(found) == set(ids))
        for ident in ids:
            percents = [shot.percent for shot in found[ident]]
            assert percents == sorted(percents)
            assert found[ident][-1].seq == len(histories[ident])
        assert process.wait(30) == 0
    finally:
        other.kill()


def test_folding_the_whole_log_again_gives_the_same_final_snapshots(bench: Bench) -> None:
    bench.create_topics()
    ids = [execution(number) for number in range(8)]
    for ident in ids:
        bench.emit(*history(ident))
    bench.start()
    first = bench.wait(lambda found: ended(found) == set(ids))
    assert bench.terminate()[0] == 0

    admin = AdminClient(client_options(bench.bootstrap))
    for done in admin.delete_topics([bench.prefix + PROGRESS.name]).values():
        done.result(20)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while bench.prefix + PROGRESS.name in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    topic = NewTopic(bench.prefix + PROGRESS.name, PROGRESS.partitions, 1, config=PROGRESS.config())
    for done in admin.create_topics([topic]).values():
        done.result(20)
    bench.start()
    again = bench.wait(lambda found: ended(found) == set(ids))
    assert {i: shots[-1] for i, shots in again.items()} == {
        i: shots[-1] for i, shots in first.items()
    }


@pytest.mark.slow
def test_a_broker_that_is_away_is_said_once_and_nothing_is_repeated(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path / "kafka")
    server.start()
    remember(server.client_options)
    bench = Bench(server.bootstrap_servers, tmp_path / "projector.log")
    try:
        bench.create_topics()
        bench.start()
        ident = execution(1)
        bench.emit(*history(ident)[:5])
        bench.wait(lambda found: ident in found)
        server.kill()
        bench.wait_for_log("no broker answers")
        server.start()
        bench.wait_for_log("Kafka answers again")
        bench.emit(*history(ident)[5:])
        bench.wait(lambda found: ident in ended(found))
        code, log = bench.terminate()
        assert code == 0
        assert log.count("no broker answers") == 1
        # What is said of lost connections is of the moment at which they were lost.
        assert log.count("NodeNotReadyError") < 10, log
    finally:
        bench.kill()
        server.stop()


def test_what_steps_took_survives_a_restart_and_percent_moves_while_nothing_is_said(
    bench: Bench,
) -> None:
    bench.create_topics()
    taught = [execution(number) for number in range(12)]
    for ident in taught:
        log = Log(ident, begun=time.time() - 100.0)
        log.accept(["s0", "s1"], sla_seconds=8.0)
        log.add("execution.started", seconds=0)
        for name in ("s0", "s1"):
            log.run(name, seconds=10.0)
        log.add("execution.completed", seconds=0)
        bench.emit(*log.events)
    bench.start()
    found = bench.wait(lambda found: ended(found) == set(taught))
    assert all(shots[-1].steps[1].duration_seconds == 10.0 for shots in found.values())
    bench.kill()
    bench.start()

    running = execution(99)
    log = Log(running, begun=time.time())
    log.accept(["s0", "s1"], sla_seconds=8.0)
    log.add("execution.started", seconds=0)
    log.add("step.dispatched", step="s0", attempt=1, seconds=0)
    log.add("step.started", step="s0", attempt=1, seconds=0)
    bench.emit(*log.events)
    # Nothing more is heard of it: what follows is made by the time alone. The group may still
    # know the instance that was killed: its partitions, and their part of the history, come later.
    last_seq = log.events[-1].seq

    def estimated(shots: Iterable[ProgressSnapshot]) -> list[ProgressSnapshot]:
        return [shot for shot in shots if shot.seq == last_seq and shot.eta_basis == "history"]

    found = bench.wait(lambda found: len(estimated(found.get(running, ()))) >= 3)
    quiet = estimated(found[running])
    for shot in quiet:
        assert shot.eta_seconds is not None
        assert 0 < shot.eta_seconds < 40
        assert shot.sla is not None
        assert shot.sla.breach_expected
    percents = [shot.percent for shot in found[running]]
    assert percents == sorted(percents)
    assert 0 <= quiet[0].percent < quiet[-1].percent < 100
    assert quiet[-1].steps[0].percent_source == "history"
    moments = [shot.as_of for shot in quiet if shot.as_of is not None]
    assert len(set(moments)) == len(quiet)
    assert bench.terminate()[0] == 0
