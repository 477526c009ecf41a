"""Cancels that race everything that an execution does, through the broker, router and executor."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter

import orjson
import psutil

from streams import ids
from tests.harness import PATIENCE_SECONDS, Harness

_PLANS = 60
#: A cancel comes this long after its request, at most: before it is admitted, while its step waits
#: in the topic, starts, runs, ends or is reported, and after its end.
_SECONDS = 2.0


def test_cancels_at_every_moment_leave_one_end_and_no_process(harness: Harness) -> None:
    mark = f"0.{random.randrange(10**8, 10**9)}"
    started: dict[str, str] = {}
    due: list[tuple[float, str]] = []
    for _ in range(_PLANS):
        key = uuid.uuid4().hex
        route = ids.route_key("default", key)
        ident = ids.mint_execution_id(route, int(time.time() * 1000), random.getrandbits(42))
        steps = [
            {"id": "one", "tool": "argv", "parameters": {"argv": ["sleep", mark]}},
            {"id": "two", "tool": "argv", "parameters": {"argv": ["sleep", mark]}},
        ]
        request = {"execution_id": ident, "idempotency_key": key, "plan": {"steps": steps}}
        harness.produce(orjson.dumps(request), route.encode())
        started[ident] = route
        due.append((time.monotonic() + random.uniform(0, _SECONDS), ident))
    for moment, ident in sorted(due):
        while time.monotonic() < moment:
            harness.read(0.01)
        cancel = {"type": "cancel", "execution_id": ident, "actor": "test", "reason": "race"}
        harness.produce(orjson.dumps(cancel), started[ident].encode(), topic="execution.control")
    harness.flush()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(harness.log.ends(ident) for ident in started):
        assert time.monotonic() < deadline, "executions did not end"
        harness.read()
    kinds: Counter[str] = Counter()
    for ident in started:
        (end,) = harness.log.ends(ident)
        kinds[end] += 1
        for step in ("one", "two"):
            last = [e["type"] for e in harness.log.events[ident] if e.get("step") == step]
            ended = {"step.succeeded", "step.cancelled", "step.failed"} & set(last)
            assert len(ended) <= 1, last
            if end == "execution.completed":
                assert ended == {"step.succeeded"}, last
    print(dict(kinds))
    assert set(kinds) <= {"execution.completed", "execution.cancelled"}, kinds
    assert kinds["execution.cancelled"], kinds
    left = [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])]
    assert left == []
    harness.check_log(list(started))
