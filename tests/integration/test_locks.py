"""Plans that change the same assets while routers and executors are killed."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson
import pytest

from processors.router.attempts import MOST_LOCK_NAMES
from processors.router.policy import LOCK_LEASE_SECONDS
from streams.ids import route_of
from streams.lifecycle import TERMINAL_EVENTS
from streams.topics import CONTROL, DEAD_LETTERS, STEPS
from tests import brokers
from tests.conftest import POLICY
from tests.driver_kit import PYTHON
from tests.integration.local_lab import programs_of
from tests.integration.lock_lab import (
    ASSETS,
    Effect,
    Plans,
    hold,
    inventory_effects,
    number_of,
    prepare,
    program_effects,
    said_bytes,
    told,
    words,
)
from tests.integration.router_lab import RouterLab, router_lab
from tests.integration.test_router_group import USED
from tests.sizes import LONG
from toolmeta.locking import LOCK_NAMES

SEED = 20261122
PLANS = 500 if LONG else 100
DOMAINS = ("test", "automation", "asset")
EXECUTOR = ("-m", "console", "executor", *(word for one in DOMAINS for word in ("--domain", one)))
_MORE = [STEPS[domain, lane] for domain in DOMAINS[1:] for lane in ("bulk", "immediate")]
TOPICS = (*USED, *_MORE, *(DEAD_LETTERS[topic.name] for topic in _MORE))
#: The shortest that a broker takes by default: the partitions of a killed executor are waited for.
_SESSION = {"session.timeout.ms": 6_000}
ROUTERS = ["router-a", "router-b"]
EXECUTORS = ["executor-a", "executor-b"]


@pytest.fixture
def lab(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[RouterLab]:
    with router_lab(kafka, topics(*TOPICS), tmp_path) as made:
        yield made


@dataclass
class Story:
    """The plans of one run, who was killed when, and what the event log says of them."""

    lab: RouterLab
    folder: Path
    database: str
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    keys: set[str] = field(default_factory=set)
    #: How many events of each execution were looked at; the executions that have ended.
    looked_at: Counter[str] = field(default_factory=Counter)
    over: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    #: (Unix seconds, process, its id)
    kills: list[tuple[float, str, int]] = field(default_factory=list)

    def start(self, name: str) -> None:
        if name in ROUTERS:
            self.lab.start(name, policy=POLICY)
            return
        servers = self.lab.stack.bootstrap_servers
        self.lab.start(
            name, EXECUTOR, assets_database_url=self.database, startable_programs=PYTHON,
            concurrency=16, immediate_concurrency=16, target_concurrency=16,
            kafka_options=orjson.dumps(brokers.kafka_options(servers, _SESSION)).decode(),
        )  # fmt: skip

    def submit(self, count: int) -> None:
        plans = Plans(self.folder, SEED)
        for _ in range(count):
            self.keys.add(key := uuid.uuid4().hex)
            self.lab.produce(orjson.dumps({"idempotency_key": key, "plan": plans.one()}))
        self.lab.flush()

    def _control(self, kind: str, execution_id: str, **fields: Any) -> None:
        command = {"type": kind, "execution_id": execution_id, "actor": "ops", **fields}
        self.lab.produce(orjson.dumps(command), route_of(execution_id).encode(), CONTROL.name)

    def operate(self) -> None:
        """What operators do: one plan in 16 is cancelled, lost attempts are looked after.

        Each event is looked at once: this machine has the plans to run meanwhile.
        """
        for execution_id, events in self.lab.log.events.items():
            fresh = events[self.looked_at[execution_id] :]
            if not fresh:
                continue
            self.looked_at[execution_id] = len(events)
            if any(event["type"] in TERMINAL_EVENTS for event in fresh):
                self.over.add(execution_id)
            begun = events[-1]["type"] in ("step.started", "lock.acquired", "step.waiting")
            # A digit of the id that is random.
            if begun and execution_id not in self.cancelled and execution_id[-9] == "0":
                self.cancelled.add(execution_id)
                self._control("cancel", execution_id, reason="not wanted any more")
            for event in fresh:
                if event["type"] == "step.needs_attention":
                    step = event["step"]
                    self._control("resolve", execution_id, step=step, outcome="failed")
        self.lab.flush()

    def ids(self) -> list[str]:
        return list(self.lab.ids_of(self.keys).values())

    def wait_ended(self, count: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while len(self.over) < count:
            assert time.monotonic() < deadline, (len(self.over), self.stuck(), self.lab.tails())
            self.lab.read(0.2)
            self.operate()

    def stuck(self) -> list[Any]:
        living = [one for one in self.ids() if not self.lab.log.ends(one)]
        return [
            [(event["type"], event.get("step"), event["data"].get("message"))
             for event in self.lab.log.events[one][-3:]]
            for one in living[:5]
        ]  # fmt: skip

    def kill(self, *names: str) -> None:
        """SIGKILL, an executor while a program of its own acts; each is started again."""
        for name in names:
            process = self.lab.processes[name]
            if name in EXECUTORS:
                self.wait_held(process.pid)
            process.kill()
            self.kills.append((time.time(), name, process.pid))
        for name in names:
            process = self.lab.processes[name]
            process.wait(10)
            if name in EXECUTORS:
                self.check_killed(process.pid)
            self.start(name)

    def check_killed(self, executor: int) -> None:
        """The programs of a killed executor have ended, and one of them in the act."""
        self.lab.until(lambda: not programs_of({executor}), "its programs end")
        assert self.acting(executor), "each program said that it ended"
        hold(self.folder, executor).unlink()

    def acting(self, executor: int) -> set[tuple[str, str]]:
        """The assets and attempts of this executor between the first and the last line."""
        found: set[tuple[str, str]] = set()
        for one in program_effects(self.folder):
            if one.executor == executor:
                which = (one.asset, f"{one.execution}:{one.step}:{one.attempt}")
                (found.add if one.what == "start" else found.discard)(which)
        return found

    def wait_held(self, executor: int) -> None:
        """Until a program of this executor acts that will not end, since it is held."""
        hold(self.folder, executor).touch()
        since = said_bytes(self.folder)
        deadline = time.monotonic() + 60
        while not any(
            one.what == "start" and one.executor == executor
            for one in program_effects(self.folder, since)
        ):
            assert time.monotonic() < deadline, self.lab.tails()
            self.lab.read(0.01)
            self.operate()

    # -- what the log says -----------------------------------------------------------------------

    def tokens(self) -> dict[tuple[str, str], list[tuple[int, dict[str, int]]]]:
        """(execution, step) -> attempt and tokens of its commands, in order."""
        found: dict[tuple[str, str], list[tuple[int, dict[str, int]]]] = defaultdict(list)
        for execution_id, events in self.lab.log.events.items():
            for event in events:
                if event["type"] == "step.dispatched":
                    given = event["data"].get("fencing_tokens") or {}
                    key = (execution_id, told(event["step"]))
                    found[key].append((event["attempt"], given))
        return found

    def hand_overs(self) -> list[tuple[float, float]]:
        """For each attempt that died with its executor: when it was lost, and when its asset was
        another execution's; in seconds after the death, or after that of a router since: leases
        start again with its successor.
        """
        tokens = self.tokens()
        grants: dict[str, list[tuple[int, float, str]]] = defaultdict(list)
        for execution_id, events in self.lab.log.events.items():
            for event in events:
                if event["type"] == "lock.acquired":
                    for asset, token in event["data"]["tokens"].items():
                        grants[asset].append((token, seconds_of(event), execution_id))
        found = []
        for execution_id, events in self.lab.log.events.items():
            for event, following in pairwise(events):
                if event["type"] != "step.lost" or following["type"] != "step.needs_attention":
                    continue
                at, names = seconds_of(event), [event["data"]["executor"], *ROUTERS]
                deaths = [when for when, name, _ in self.kills if name in names]
                assert min(deaths, default=at) < at, f"{names[0]} was lost and nobody killed it"
                given = dict(tokens[execution_id, told(event["step"])])[event["attempt"]]
                for asset, token in given.items():
                    later = [one for one in grants[asset] if one[0] > token]
                    if later and min(later)[2] != execution_id:
                        granted = min(later)[1]
                        lost_after = at - max(when for when in deaths if when < at)
                        other_after = granted - max(when for when in deaths if when < granted)
                        found.append((lost_after, other_after))
        return found


def seconds_of(event: dict[str, Any]) -> float:
    """When the event was decided, in Unix seconds."""
    return datetime.fromisoformat(event["at"]).timestamp()


def check_no_overlap(effects: list[Effect], dead: set[int]) -> int:
    """No program met another one at its asset; returns how many ended with their executor."""
    assert not [one for one in effects if one.what == "overlap"]
    counts = Counter(
        (one.what, one.asset, one.executor, one.execution, one.step, one.attempt) for one in effects
    )
    assert max(counts.values()) == 1
    ended = {which[1:] for which in counts if which[0] == "end"}
    return sum(
        1 for which in counts
        if which[0] == "start" and which[1:] not in ended and which[2] in dead
    )  # fmt: skip


def check_order(story: Story, effects: list[Effect]) -> int:
    """By the assets' own account: one execution after the other, each with a larger token.

    Returns how often an asset went from one execution to another.
    """
    tokens, changes = story.tokens(), 0
    for asset, found in groupby(sorted(effects), key=attrgetter("asset")):
        seen: list[tuple[int, str]] = []
        for one in found:
            commands = tokens[one.execution, one.step]
            given = dict(commands)[one.attempt] if one.attempt else commands[-1][1]
            seen.append((given[asset], one.execution))
        for (token, execution), (later, other) in pairwise(seen):
            if execution == other:
                assert token <= later, (asset, token, later)
            else:
                assert token < later, (asset, execution, token, other, later)
                changes += 1
    return changes


def check_done(story: Story, effects: list[Effect]) -> int:
    """Every change that is said to have succeeded was seen by its assets; returns how many."""
    ended = {(one.execution, one.step, one.attempt) for one in effects if one.what == "end"}
    updated = {(one.execution, one.step) for one in effects if one.what == "update"}
    count, tokens = 0, story.tokens()
    for execution_id, events in story.lab.log.events.items():
        for event in events:
            key = (execution_id, told(event.get("step") or ""))
            if event["type"] == "step.succeeded" and any(given for _, given in tokens[key]):
                assert key in updated or (*key, event["attempt"]) in ended, event
                count += 1
    return count


def test_an_asset_whose_row_was_written_by_sql_is_one_by_all_of_its_names(
    lab: RouterLab, database: str, open_folder: Path
) -> None:
    prepare(database, open_folder)
    story = Story(lab, open_folder, database)
    for name in (ROUTERS[0], EXECUTORS[0]):
        story.start(name)
    asset, go = ASSETS[0], open_folder / "go"
    argv = {"tool": "argv", "parameters": {"argv": words(open_folder, str(go), [asset])}}
    by_name = lab.submit(1, [{**argv, "assets": [asset], "retry": {"max_attempts": 1}}])
    lab.until(lambda: any(program_effects(open_folder)), "the program acts")
    parameters = {"asset_id": number_of(asset), "owner": "{{ execution.id }} step_1"}
    by_number = lab.submit(1, [{"tool": "asset_update", "parameters": parameters}])

    def said(keys: set[str], kind: str) -> list[dict[str, Any]]:
        ids = lab.ids_of(keys).values()
        return [event for one in ids for event in lab.log.events[one] if event["type"] == kind]

    lab.until(lambda: bool(said(by_number, "step.waiting")), "the other waits")
    assert said(by_number, "step.waiting")[0]["data"]["reason"] == "lock"
    assert not list(inventory_effects(database))
    go.touch()
    lab.wait_ended(by_name | by_number)
    assert len(said(by_name | by_number, "execution.completed")) == 2
    (failed,) = said(by_name, "step.failed")
    assert (failed["data"]["error"]["class"], failed["data"]["final"]) == ("lock_names", False)
    (_, again) = said(by_name, "step.dispatched")
    assert again["data"]["fencing_tokens"].keys() == {asset, str(number_of(asset))}
    assert len(said(by_number, "step.dispatched")) == 1
    effects = [*program_effects(open_folder), *inventory_effects(database)]
    assert check_order(story, effects) == 1


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_holders_are_killed_and_no_asset_has_two(
    lab: RouterLab,
    database: str,
    open_folder: Path,
    record_property: Callable[[str, object], None],
) -> None:
    prepare(database, open_folder)
    story = Story(lab, open_folder, database)
    for name in (*ROUTERS, *EXECUTORS):
        story.start(name)
    began = time.monotonic()
    story.submit(PLANS)
    # The router's first, so that its new instance takes part in what follows.
    rounds = [[one] for one in (*ROUTERS, *EXECUTORS, *EXECUTORS)]
    story.random.shuffle(rounds)
    rounds.insert(story.random.randrange(len(rounds)), ROUTERS)
    for number, names in enumerate(rounds):
        story.wait_ended(PLANS * (number + 1) // (len(rounds) + 3), 150)
        story.kill(*names)
    story.wait_ended(PLANS, 200)
    took = time.monotonic() - began

    lab.check_log(story.ids())
    programs = list(program_effects(open_folder))
    killed = check_no_overlap(programs, {pid for _, _, pid in story.kills})
    effects = [*programs, *inventory_effects(database)]
    changes, done, waited = (
        check_order(story, effects), check_done(story, effects), story.hand_overs()
    )  # fmt: skip
    errors = Counter(
        event["data"]["error"]["class"]
        for events in lab.log.events.values()
        for event in events
        if event["type"] == "step.failed" and event["data"]["final"]
    )
    ends = Counter(lab.log.ends(one)[0] for one in story.ids())
    assert killed >= 4 and waited
    figures = (
        f"{PLANS} plans in {took:.0f} s: {dict(ends)}; {done} changes done, {len(effects)} effects,"
        f" {changes} hand-overs, {killed} programs killed, {len(waited)} hand-overs after a death:"
        f" lost after {max(lost for lost, _ in waited):.1f} s, another's after "
        f"{max(other for _, other in waited):.1f} s at most; {len(story.cancelled)} cancels,"
        f" final failures {dict(errors)}"
    )
    print(figures)
    record_property("figures", figures)
    assert set(errors) <= {
        "injected", "items_failed", "deadlock", "resolved", "lost", "needs_attention", LOCK_NAMES,
    }  # fmt: skip
    # Of an execution that ends anyway nothing is tried again; else the names are learned.
    assert not [
        event
        for events in lab.log.events.values()
        for event in events
        if event["type"] == "step.failed"
        and event["data"]["error"]["class"] == LOCK_NAMES
        and event["attempt"] > MOST_LOCK_NAMES
    ]
    assert max(other for _, other in waited) <= LOCK_LEASE_SECONDS
