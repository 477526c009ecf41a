"""After kills, a freeze and a lost answer the counters of what lives are what the topics hold."""

from __future__ import annotations

import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from devstack.ports import free_port
from streams.lifecycle import TERMINAL_EVENTS
from streams.topics import EVENTS, REQUESTS, Topic, dead_letter_topic
from tests.integration.router_lab import EXECUTOR, RouterLab, router_lab
from tests.integration.test_router_group import ALL, USED, shares

RETRIED = {"tool": "fail", "parameters": {"times": 1}, "retry": {"backoff_seconds": 0.1}}
PLANS: tuple[list[dict[str, Any]], ...] = (
    [{"tool": "noop"}, {"tool": "sleep", "parameters": {"seconds": 0.5}}, {"tool": "noop"}],
    [RETRIED, {"tool": "noop"}],
    [{"tool": "fail", "parameters": {"error_class": "exit_status"}}, {"tool": "noop"}],
    [{"tool": "noop", "for_each": [1, 2, 3]}],
)
#: Runs for so long that its executor can be killed meanwhile.
HELD = [{"tool": "sleep", "parameters": {"seconds": 3}}]
_ENDS = {
    "step.succeeded": "succeeded",
    "step.failed": "failed",
    "step.timed_out": "timed_out",
    "step.skipped": "skipped",
}
Series = tuple[str, frozenset[tuple[str, str]]]


class CountersLab:
    """Processes whose metrics are added up, and the topics that these have to agree with."""

    def __init__(self, lab: RouterLab) -> None:
        self.lab = lab
        self.ports: dict[str, int] = {}
        self.since: dict[str, list[TopicPartition]] = {}

    def start(self, name: str, arguments: tuple[str, ...], **settings: Any) -> None:
        self.ports[name] = free_port()
        self.lab.start(name, arguments, http_port=self.ports[name], **settings)

    def kill(self, name: str) -> None:
        self.lab.signal(name, signal.SIGKILL)
        self.lab.processes[name].wait(10)
        del self.ports[name]

    def begin(self, *topics: Topic) -> None:
        """From here on: what a killed process has appended so far is not of those that live."""
        for topic in topics:
            consumer = self._consumer()
            parts = []
            for number in range(topic.partitions):
                part = TopicPartition(self.lab.prefix + topic.name, number)
                # The high watermark: records of a transaction that is still open lie before it.
                part.offset = consumer.get_watermark_offsets(part, timeout=30)[1]
                parts.append(part)
            self.since[topic.name] = parts
            consumer.close()

    def records(self, topic: Topic) -> list[Any]:
        """Everything that was committed to a topic since `begin`."""
        consumer = self._consumer()
        parts = self.since[topic.name]
        consumer.assign(parts)
        left = {part.partition for part in parts}
        found = []
        deadline = time.monotonic() + 60
        while left:
            for message in consumer.consume(1_000, 0.5):
                if message.error() is None:
                    found.append(message)
                else:
                    left.discard(message.partition())
            assert time.monotonic() < deadline
        consumer.close()
        return found

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                **self.lab.stack.client_options,
                "group.id": f"counters-{uuid.uuid4().hex}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )

    def counted(self, *processes: str) -> Counter[Series]:
        """The series of these processes, added up; those at 0 are left out."""
        found: Counter[Series] = Counter()
        for name in processes:
            address = f"http://127.0.0.1:{self.ports[name]}/metrics"
            with urlopen(address, timeout=10) as answer:
                for family in text_string_to_metric_families(answer.read().decode()):
                    for sample in family.samples:
                        if sample.value:
                            labels = frozenset(sample.labels.items())
                            found[sample.name, labels] += int(sample.value)
        return found

    def settled(self, *processes: str) -> Counter[Series]:
        """The same, once the last requests are decided too: nothing more has come for a second."""
        deadline = time.monotonic() + 60
        before = self.counted(*processes)
        while True:
            time.sleep(1)
            found = self.counted(*processes)
            names = "runstream_events_total", "runstream_requests_total"
            if all(of(found, name) == of(before, name) for name in names):
                return found
            assert time.monotonic() < deadline
            before = found


def of(counted: Counter[Series], name: str) -> dict[tuple[str, ...], int]:
    """The series of one metric by the values of its labels, in the order of their names."""
    return {
        tuple(value for _, value in sorted(labels)): count
        for (metric, labels), count in counted.items()
        if metric == name
    }


def by(values: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    return dict(Counter(values))


@pytest.fixture
def counters(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[CountersLab]:
    with router_lab(kafka, topics(*USED), tmp_path) as lab:
        yield CountersLab(lab)


def load(lab: RouterLab, plans: int) -> set[str]:
    """Plans of every kind, a request that is none, one that is refused, and one twice."""
    keys: set[str] = set()
    for steps in PLANS:
        keys |= lab.submit(plans, steps, timeout_seconds=300, sla_class="fast")
    lab.produce(b"not json")
    lab.produce(orjson.dumps({"plan": {"steps": [{"tool": "no_such_tool"}]}}))
    key = uuid.uuid4().hex
    for _ in range(2):
        lab.produce(orjson.dumps({"idempotency_key": key, "plan": {"steps": [{"tool": "noop"}]}}))
    lab.flush()
    return {*keys, key}


def kinds(lab: RouterLab, keys: set[str]) -> list[str]:
    """The types of all events of these plans so far."""
    return [event["type"] for ident in lab.ids_of(keys).values() for event in lab.log.events[ident]]


def _tools(lab: RouterLab) -> dict[tuple[str, str], str]:
    """(execution, step of its plan) -> tool"""
    return {
        (execution_id, step["id"]): step["tool"]
        for execution_id, events in lab.log.events.items()
        if events[0]["type"] == "execution.accepted"
        for step in events[0]["data"]["plan"]["steps"]
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="process states are read in /proc")
def test_counters_are_what_the_topics_hold_after_every_fault(counters: CountersLab) -> None:
    lab = counters.lab
    stop, forget = lab.folder / "stop", lab.folder / "forget"
    counters.start("dies", EXECUTOR, concurrency=64)
    counters.start("killed", ("-m", "console", "router"))
    keys = load(lab, 10)
    lab.wait_ended(keys, 0.2)
    counters.kill("killed")
    letters = dead_letter_topic(REQUESTS)
    counters.begin(EVENTS, letters)
    counters.start(
        "frozen", ("-m", "tests.integration.stopping_router", "before_offsets", str(stop))
    )
    counters.start("other", ("-m", "tests.integration.forgetting_router", str(forget)))
    lab.until(lambda: shares(lab) == [ALL // 2, ALL // 2], "both have partitions")
    keys |= load(lab, 10)
    keys |= (held := lab.submit(1, HELD, timeout_seconds=300, sla_class="fast"))
    lab.until(lambda: "step.started" in kinds(lab, held), "an attempt runs")
    counters.kill("dies")
    counters.start("lives", EXECUTOR, concurrency=64)
    stop.touch()
    keys |= load(lab, 10)
    lab.until(lambda: lab.is_stopped("frozen"), "the router stops in a commit")
    lab.until(lambda: shares(lab) == [ALL], "the other one takes over")
    lab.signal("frozen", signal.SIGCONT)
    forget.touch()
    keys |= load(lab, 10)
    lab.until(lambda: not forget.exists(), "an answer is lost")
    lab.until(lambda: shares(lab) == [ALL // 2, ALL // 2], "it is a member again")
    keys |= load(lab, 10)
    lab.wait_ended(keys)
    lab.check_log(lab.ids_of(keys).values())
    lab.check_ledger(lab.ids_of(keys).values())

    found = counters.settled("frozen", "other")
    # What the faults did: without an abort and a lost answer nothing would be shown here.
    outcomes = of(found, "runstream_transactions_total")
    assert outcomes["unknown",] >= 1 and outcomes.keys() & {("aborted",), ("fenced",)}
    events = [orjson.loads(record.value()) for record in counters.records(EVENTS)]
    check_router(found, events, _tools(lab))
    classes = [dict(record.headers())["runstream-error-class"] for record in
               counters.records(letters)]  # fmt: skip
    counted = of(found, "runstream_dead_letters_total")
    requests = {key: count for key, count in counted.items() if key[1] == REQUESTS.name}
    assert requests == by((name.decode(), REQUESTS.name) for name in classes)
    assert of(found, "runstream_requests_total")["dead_letter",] == len(classes)

    claims = of(counters.counted("lives"), "runstream_executor_claims_total")
    started = [
        e for e in events if e["type"] == "step.started" and e["data"]["executor"] == "lives"
    ]
    assert sum(n for (decision, *_), n in claims.items() if decision == "started") == len(started)


def check_router(
    found: Counter[Series], events: list[dict[str, Any]], tools: dict[tuple[str, str], str]
) -> None:
    """Every counter of decisions equals what the log says."""
    types = [event["type"] for event in events]
    assert of(found, "runstream_events_total") == by((kind,) for kind in types)
    assert of(found, "runstream_executions_ended_total") == by(
        (kind.removeprefix("execution."),) for kind in types if kind in TERMINAL_EVENTS
    )
    assert of(found, "runstream_steps_dispatched_total") == by(
        (event["data"]["domain"],) for event in events if event["type"] == "step.dispatched"
    )

    def tool(event: dict[str, Any]) -> str:
        return tools[event["execution_id"], event["step"].partition("[")[0]]

    expanded = {(e["execution_id"], e["step"]) for e in events if e["type"] == "step.expanded"}
    ended = [
        event
        for event in events
        if event["type"] in _ENDS
        and event["data"].get("final", True)
        and (event["execution_id"], event["step"]) not in expanded
        # The plan's only list of items; it may have been expanded before.
        and not (event.get("attempt") is None and event["type"] == "step.succeeded")
    ]  # fmt: skip
    assert of(found, "runstream_steps_ended_total") == by(
        ("test", _ENDS[event["type"]], tool(event)) for event in ended
    )
    assert of(found, "runstream_step_retries_total") == by(
        ("test", tool(event)) for event in events if event["type"] == "step.retry_scheduled"
    )
    assert of(found, "runstream_leases_taken_total") == by(
        ("test",) for kind in types if kind == "step.started"
    )
    assert of(found, "runstream_leases_lost_total") == by(
        ("test",) for kind in types if kind == "step.lost"
    )
    assert types.count("step.lost") > 0
    requests = of(found, "runstream_requests_total")
    for outcome in ("accepted", "rejected", "duplicate"):
        assert requests[outcome,] == types.count(f"execution.{outcome}"), outcome
    breaches = [e["data"]["sla_class"] for e in events if e["type"] == "execution.sla_breached"]
    assert of(found, "runstream_sla_breaches_total") == by((name,) for name in breaches)
    assert sum(of(found, "runstream_sla_executions_total").values()) == sum(
        kind in TERMINAL_EVENTS and kind != "execution.rejected" for kind in types
    )
    waited = of(found, "runstream_step_queue_seconds_count")
    assert waited == by(("test",) for kind in types if kind == "step.started")
