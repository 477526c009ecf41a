"""A record that ends the router each time that it is decided about, on a real broker."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition

from streams.topics import CONTROL, DEAD_LETTERS, REPORTS, REQUESTS
from tests.brokers import client_options
from tests.integration.crashing_router import MARK
from tests.integration.router_lab import EXECUTOR, STEPS, RouterLab, router_lab
from tests.integration.test_router_group import USED
from tests.sizes import LONG

#: Each costs the session of a killed member, six seconds.
KILLS = 6
MODULE = ("-m", "tests.integration.crashing_router")


def test_a_record_that_ends_the_router_becomes_a_dead_letter(
    kafka: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    with router_lab(kafka, topics(*USED), tmp_path) as lab:
        lab.start("executor", EXECUTOR, concurrency=64)
        keys = lab.load(20)
        bad = orjson.dumps(
            {"idempotency_key": "bad", "plan": {"name": MARK.decode(), "steps": STEPS}}
        )
        lab.produce(bad, key=b"bad", topic=REQUESTS.name)
        keys |= lab.load(20)
        for number in range(10):
            name = f"router-{number}"
            lab.start(name, MODULE)
            router = lab.processes[name]

            def ended() -> bool:
                ids = lab.ids_of(keys)
                return router.poll() is not None or (  # noqa: B023
                    len(ids) == len(keys) and all(lab.log.ends(one) for one in ids.values())
                )

            lab.until(ended, "the router neither ended nor got on", 120)
            if router.poll() is None:
                break
            assert router.returncode == 70
        lab.check(keys)
        ((value, headers),) = lab.dead_letters(REQUESTS, 1)
        assert value == bad
        assert headers["runstream-error-class"] == "decision_crashed"


def dead_letters_of(lab: RouterLab) -> int:
    """How many records the router's sources have in their dead-letter topics."""
    consumer = Consumer({**client_options(lab.stack.bootstrap_servers), "group.id": "ends"})
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(name, number), timeout=10)[1]
            for name in (
                lab.prefix + DEAD_LETTERS[t.name].name for t in (REQUESTS, CONTROL, REPORTS)
            )
            for number in range(len(consumer.list_topics(name, timeout=10).topics[name].partitions))
        )
    finally:
        consumer.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kills_at_full_load_make_no_dead_letter(
    kafka: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    """Each router is killed while it decides its first records, one by one after the first."""
    with router_lab(kafka, topics(*USED), tmp_path) as lab:
        lab.start("executor", EXECUTOR, concurrency=64)
        keys = lab.load(500 if LONG else 120)
        for number in range(KILLS):
            name = f"router-{number}"
            lab.start(name)
            lab.until(lambda: bool(lab.events(name, "partitions restored")), "it begins")  # noqa: B023
            lab.signal(name, signal.SIGKILL)
            keys |= lab.load(100 if LONG else 30)
        lab.start("last")
        lab.check(keys)
        assert dead_letters_of(lab) == 0
