"""Plans that change the same assets while routers and executors are killed."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.ids import route_of
from streams.topics import CONTROL
from tests.integration.router_lab import EXECUTOR, RouterLab, router_lab
from tests.integration.test_router_group import USED

SEED = 20261122
PLANS = 500
ENDS = {"step.succeeded", "step.failed", "step.timed_out", "step.lost"}
ASSETS = [f"asset-{number:02d}" for number in range(50)]


@pytest.fixture
def lab(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[RouterLab]:
    with router_lab(kafka, topics(*USED), tmp_path) as made:
        yield made


class Changes:
    """Plans that change assets, what they did, and what the events say of their locks."""

    def __init__(self, lab: RouterLab) -> None:
        self.lab = lab
        self.random = random.Random(SEED)
        self.resolved: set[tuple[str, str]] = set()

    def step(self, asset: str, others: list[str]) -> dict[str, Any]:
        """A change; it fails where the asset cannot be reached, and the plan goes on."""
        argv = {"tool": "argv", "parameters": {"argv": ["true"]}, "on_failure": "continue"}
        return {**argv, "assets": [asset, *others]}

    def plan(self) -> dict[str, Any]:
        """One to three assets, most of them in the first steps' `assets`, others found late."""
        chosen = self.random.sample(ASSETS, self.random.choice([1, 1, 2, 3]))
        steps: list[dict[str, Any]] = [
            {"tool": "noop", "parameters": {"host": chosen[0]}},
            *(self.step(asset, self.random.sample(chosen, 1)) for asset in chosen),
            {"tool": "sleep", "parameters": {"seconds": 0.01}},
        ]
        self.random.shuffle(steps)
        return {
            "steps": steps,
            "timeout_seconds": 600,
            "priority": self.random.randint(1, 10),
            "sla_class": "fast",
        }

    def submit(self, count: int) -> set[str]:
        keys = set()
        for _ in range(count):
            keys.add(key := uuid.uuid4().hex)
            self.lab.produce(orjson.dumps({"idempotency_key": key, "plan": self.plan()}))
        self.lab.flush()
        return keys

    def resolve(self) -> None:
        """What an operator does about attempts whose executor was killed."""
        for execution_id, events in self.lab.log.events.items():
            for event in events:
                which = (execution_id, f"{event.get('step')}:{event.get('attempt')}")
                if event["type"] == "step.needs_attention" and which not in self.resolved:
                    self.resolved.add(which)
                    command = {"type": "resolve", "execution_id": execution_id, "actor": "ops",
                               "step": event["step"], "outcome": "succeeded"}  # fmt: skip
                    key = route_of(execution_id).encode()
                    self.lab.produce(orjson.dumps(command), key, CONTROL.name)
        self.lab.flush()

    def ended(self, keys: set[str]) -> int:
        ids = self.lab.ids_of(keys).values()
        return sum(1 for one in ids if self.lab.log.ends(one))

    def wait(self, keys: set[str], count: int, seconds: float) -> None:
        """Until so many have ended; fails with the locks of those that have not."""
        deadline = time.monotonic() + seconds
        while self.ended(keys) < count:
            assert time.monotonic() < deadline, (self.ended(keys), self.stuck(keys))
            self.lab.read(0.2)
            self.resolve()

    def stuck(self, keys: set[str]) -> list[Any]:
        ids = self.lab.ids_of(keys).values()
        living = [one for one in ids if not self.lab.log.ends(one)]
        tails = [self.lab.log.events[one][-3:] for one in living[:5]]
        return [
            [(event["type"], event.get("step"), event["data"].get("message")) for event in tail]
            for tail in tails
        ]

    def check_attempts(self) -> int:
        """No two executions had an attempt out for one asset at one time; returns how many."""
        out: dict[str, list[tuple[str, str, str]]] = {}
        count = 0
        for execution_id, events in self.lab.log.events.items():
            begun: dict[str, tuple[str, list[str]]] = {}
            for event in events:
                tokens = event["data"].get("fencing_tokens")
                if event["type"] == "step.dispatched" and tokens:
                    begun[event["step"]] = (event["at"], list(tokens))
                elif event["type"] in ENDS and event["step"] in begun:
                    since, assets = begun.pop(event["step"])
                    count += 1
                    for asset in assets:
                        out.setdefault(asset, []).append((since, event["at"], execution_id))
            assert not begun
        for asset, found in out.items():
            found.sort()
            for (_, until, one), (since, _, other) in pairwise(found):
                assert one == other or until <= since, asset
        return count

    def check_tokens(self) -> int:
        """By the events, in the order of the tokens of an asset: one holder after the other."""
        grants: dict[str, list[tuple[int, str, str]]] = {}
        ends: dict[tuple[str, int], str] = {}
        for execution_id, events in self.lab.log.events.items():
            for event in events:
                tokens = event["data"].get("tokens", {})
                if event["type"] == "lock.acquired":
                    for asset, token in tokens.items():
                        grants.setdefault(asset, []).append((token, event["at"], execution_id))
                elif event["type"] in ("lock.released", "lock.expired"):
                    for asset, token in tokens.items():
                        assert (asset, token) not in ends
                        ends[asset, token] = event["at"]
        for asset, found in grants.items():
            found.sort()
            assert len({token for token, _, _ in found}) == len(found)
            for (token, _, _), (_, since, _) in pairwise(found):
                assert ends[asset, token] <= since, (asset, token)
        return sum(map(len, grants.values()))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_holders_are_killed_and_no_asset_has_two(lab: RouterLab) -> None:
    changes = Changes(lab)
    for name in ("router-a", "router-b"):
        lab.start(name)
    for name in ("executor-a", "executor-b"):
        lab.start(name, EXECUTOR, concurrency=16, immediate_concurrency=16, target_concurrency=16)
    keys = changes.submit(PLANS)
    victims = ["router-a", "executor-a", "router-b", "executor-b", "router-a"]
    began = time.monotonic()
    for number, victim in enumerate(victims):
        changes.wait(keys, PLANS * (number + 1) // (len(victims) + 2), 150)
        lab.processes[victim].kill()
        lab.processes[victim].wait(10)
        if victim.startswith("router"):
            lab.start(victim)
        else:
            lab.start(
                victim, EXECUTOR, concurrency=16, immediate_concurrency=16, target_concurrency=16
            )
    changes.wait(keys, PLANS, 200)
    ids = lab.ids_of(keys)
    lab.check_log(ids.values())
    begun, grants = changes.check_attempts(), changes.check_tokens()
    ends = [lab.log.ends(one)[0] for one in ids.values()]
    print(
        f"{PLANS} plans, {begun} changes, {grants} grants, {len(changes.resolved)} lost attempts, "
        f"{time.monotonic() - began:.0f} s: { {end: ends.count(end) for end in set(ends)} }"
    )
    assert begun >= PLANS
    assert set(ends) <= {"execution.failed", "execution.partial", "execution.completed"}
