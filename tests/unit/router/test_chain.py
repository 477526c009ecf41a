"""The chain of an execution goes on over restarts and its end, and its end is signed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from console.chain_check import Checked, Finding, Rules, check, linked
from streams import topics
from streams.envelope import SIGNATURE, header
from streams.timestamps import unix
from tests.unit.router.simulation import START, Captured, Simulation

PLAN = {"steps": [{"id": "a", "tool": "noop"}, {"id": "b", "tool": "noop"}]}


def accepted(router: Simulation) -> str:
    events = router.submit({"idempotency_key": "k", "actor": "ann", "plan": PLAN})
    return str(events[0]["execution_id"])


def holds(router: Simulation, rules: Rules | None = None) -> tuple[Finding | None, Checked]:
    known = Checked(router.events[0]["execution_id"])
    found = None
    for event in router.events:
        found = check(known, linked(orjson.dumps(event)), rules or Rules()) or found
    return found, known


def test_it_goes_on_after_a_restart_at_any_point() -> None:
    router = Simulation()
    accepted(router)
    router.restart()
    for _ in range(2):
        command = router.take()
        router.report("started", command)
        router.restart()
        router.report("heartbeat", command, percent=10)
        router.restart()
        router.report("succeeded", command, output={})
        router.restart()
    late = {**command, "attempt": 1}
    router.report("failed", late, error={"class": "x", "message": "late"})
    router.restart()
    accepted(router)
    found, known = holds(router)
    assert found is None
    assert [event["type"] for event in router.events[-2:]] == [
        "step.late_result", "execution.duplicate",
    ]  # fmt: skip
    assert known.seq == len(router.events) and known.holds_from == 1


def test_an_execution_from_before_chains_begins_one_where_it_stands() -> None:
    router = Simulation()
    accepted(router)
    for key, value in router.changelog.items():
        tree = orjson.loads(value)
        tree.get("head", tree).pop("chain", None)
        tree.pop("c", None)
        router.changelog[key] = orjson.dumps(tree)
    for event in router.events:
        del event["chain"]
    older = len(router.events)
    router.restart()
    for _ in range(2):
        router.run(router.take())
    rules = Rules(unchained_until=unix(router.events[older - 1]["at"]) + 0.001)
    found, known = holds(router, rules)
    assert found is None
    assert known.holds_from == older + 1
    assert known.ended


def test_the_end_and_what_follows_it_are_signed() -> None:
    router = Simulation()

    def tokens(topic: str, values: Sequence[bytes]) -> list[bytes]:
        return [f"{topic}: {value.decode()}".encode() for value in values]

    router.partition.writer.signed.tokens = tokens
    seen: list[Any] = []

    class Watching(Captured):
        def send(self, topic: Any, key: Any, value: Any, headers: Any = None, *_: Any) -> None:
            if topic.name == topics.EVENTS.name:
                seen.append((orjson.loads(value), header(headers, SIGNATURE)))
            super().send(topic, key, value, headers)

    router.out = Watching()
    accepted(router)
    for _ in range(2):
        router.run(router.take())
    accepted(router)
    ended = [event["type"] for event, _ in seen].index("execution.completed")
    assert all(signature is None for _, signature in seen[:ended])
    assert len(seen) == ended + 2
    for event, signature in seen[ended:]:
        assert signature == f"execution.events: {event['chain']}"


def test_a_rejection_is_a_chain_of_one() -> None:
    router = Simulation()
    router.submit({"idempotency_key": "k", "plan": {"steps": [{"tool": "no such tool"}]}})
    found, known = holds(router)
    assert found is None and known.ended and known.seq == 1
    assert unix(router.events[0]["at"]) >= START
