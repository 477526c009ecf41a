"""A record that ends the router each time that it is decided about, on a real broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

from streams.topics import REQUESTS
from tests.integration.crashing_router import MARK
from tests.integration.router_lab import EXECUTOR, STEPS, router_lab
from tests.integration.test_router_group import USED

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
