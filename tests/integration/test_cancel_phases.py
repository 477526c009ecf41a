"""Cancels that meet executions in every state, and that race their ends; one running lab for all.

Whatever they meet: one terminal event, no step with two ends, no process and no lock that stays.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.lifecycle import ASIDES, STEP_ENDED
from tests.integration.cancel_lab import (
    RATED,
    REASON,
    SLOTS,
    CancelLab,
    Entered,
    cancel_lab,
    statuses,
)
from tests.sizes import LONG

#: All of it takes as long as a lease: an attempt of a killed executor is waited for last.
pytestmark = pytest.mark.slow

SEED = 20261122
RACES = 1_000 if LONG else 400
#: More than can act at once, so that some commands wait in the topic.
_AT_ONCE = SLOTS + SLOTS // 2
#: After the event that a cancel is aimed at, it comes this much later at most, in seconds: before
#: the next thing happens, and after it.
_LATE_SECONDS = 0.12
_AIMS = [
    ("execution.accepted", None),
    ("step.started", "one"),
    ("step.succeeded", "one"),
    ("step.started", "two"),
]


@pytest.fixture(scope="module")
def lab(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CancelLab]:
    with cancel_lab(kafka, Path(tmp_path_factory.mktemp("cancels"))) as made:
        yield made


def pending_approval(lab: CancelLab) -> Entered:
    ident = lab.submit([lab.lock()], approval_level=1)
    lab.until(ident, "execution.approval_requested")
    return Entered(ident, "pending_approval", {}, {"lock": "cancelled"})


def paused_between_steps(lab: CancelLab) -> Entered:
    ident = lab.submit([lab.lock(), {"id": "one", **lab.program("between")},
                        {"id": "two", "tool": "noop"}])  # fmt: skip
    lab.until_it_acts("between")
    lab.control("pause", ident)
    lab.until(ident, "execution.paused")
    lab.go("between")
    lab.until(ident, "step.succeeded", "one")
    before = {"lock": "succeeded", "one": "succeeded"}
    return Entered(ident, "paused", before, {**before, "two": "cancelled"})


def paused_while_a_step_acts(lab: CancelLab) -> Entered:
    ident = lab.submit([lab.lock(), {"id": "one", **lab.program("paused")}])
    lab.until_it_acts("paused")
    lab.control("pause", ident)
    lab.until(ident, "execution.paused")
    before = {"lock": "succeeded", "one": "running"}
    return Entered(ident, "paused", before, {**before, "one": "cancelled"})


def queued(lab: CancelLab) -> Entered:
    """The only slot of the bulk lane is taken, so no executor can answer at once."""
    other = lab.submit([{"id": "one", **lab.program("slot")}], mode="background")
    lab.until_it_acts("slot")
    step = {"id": "one", "tool": "sleep", "parameters": {"seconds": 600}, "timeout_seconds": 700}
    ident = lab.submit([step], mode="background")
    lab.until(ident, "step.dispatched")

    def then() -> None:
        lab.until(ident, "step.cancel_requested")
        lab.go("slot")
        lab.until(other, "execution.completed")

    return Entered(ident, "queued", {"one": "dispatched"}, {"one": "cancelled"}, then=then)


def waiting_for_a_lock(lab: CancelLab) -> Entered:
    lock = lab.lock()
    holder = lab.submit([lock, {"id": "one", **lab.program("holder")}])
    lab.until_it_acts("holder")
    ident = lab.submit([lock])
    waiting = lab.until(ident, "step.waiting")["data"]
    assert waiting["reason"] == "lock" and holder in waiting["message"]

    def then() -> None:
        # It is withdrawn though the holder has not ended.
        lab.until(ident, "execution.cancelled")
        lab.go("holder")
        lab.until(holder, "execution.completed")

    return Entered(ident, "approved", {"lock": "waiting"}, {"lock": "cancelled"}, then=then)


def waiting_for_a_rate(lab: CancelLab) -> Entered:
    step = {"id": "one", "tool": "change", "parameters": {"host": RATED}}
    lab.until(lab.submit([step]), "execution.completed")
    ident = lab.submit([lab.lock(), step])
    assert lab.until(ident, "step.waiting", "one")["data"]["reason"] == "rate_limit"
    before = {"lock": "succeeded", "one": "waiting"}
    return Entered(ident, "running", before, {**before, "one": "cancelled"})


def running(lab: CancelLab) -> Entered:
    ident = lab.submit([lab.lock(), {"id": "one", **lab.program("running")},
                        {"id": "two", "tool": "noop"}])  # fmt: skip
    lab.until_it_acts("running")
    before = {"lock": "succeeded", "one": "running"}
    return Entered(ident, "running", before, {**before, "one": "cancelled", "two": "cancelled"})


def waiting_for_a_retry(lab: CancelLab) -> Entered:
    retry = {"max_attempts": 2, "backoff_seconds": 600, "max_backoff_seconds": 600}
    ident = lab.submit([lab.lock(), {"id": "one", "tool": "fail", "retry": retry}])
    lab.until(ident, "step.retry_scheduled")
    before = {"lock": "succeeded", "one": "waiting"}
    return Entered(ident, "running", before, {**before, "one": "cancelled"})


def compensating(lab: CancelLab) -> Entered:
    made = {"id": "made", "tool": "argv", "parameters": {"argv": ["true"]},
            "compensate": {**lab.program("undo"), "timeout_seconds": 60}}  # fmt: skip
    broken = {"id": "broken", "tool": "fail", "on_failure": "compensate",
              "retry": {"max_attempts": 1}}  # fmt: skip
    ident = lab.submit([lab.lock(), made, broken])
    lab.until_it_acts("undo")
    before = {"lock": "succeeded", "made": "succeeded", "broken": "failed", "made.undo": "running"}
    return Entered(ident, "running", before, {**before, "made.undo": "cancelled"})


def needs_attention(lab: CancelLab) -> Entered:
    ident = lab.lost()
    before = {"lock": "succeeded", "one": "needs_attention"}
    after = {**before, "one": "cancelled"}
    return Entered(ident, "needs_attention", before, after, frozenset({"one"}))


def cancel(lab: CancelLab, entered: Entered) -> None:
    """Cancel it and check everything that anybody can see of that."""
    ident = entered.execution_id
    status, steps = statuses(lab.log.events[ident])
    assert (status, steps) == (entered.status, {**steps, **entered.before})
    lab.control("cancel", ident)
    entered.then()
    check(lab, entered)


def check(lab: CancelLab, entered: Entered) -> None:
    ident = entered.execution_id
    end = lab.until(ident, "execution.cancelled")
    assert lab.left(ident) == []
    lab.lab.check_log([ident])
    events = lab.log.events[ident]
    (asked,) = lab.of(ident, "execution.cancel_requested")
    assert (asked["data"]["reason"], asked["data"]["ending"]) == (REASON, "cancelled")
    after = events[asked["seq"] :]
    assert not [e for e in after if e["type"] in ("step.dispatched", "step.succeeded")]
    assert {e["type"] for e in events[end["seq"] :]} <= ASIDES

    status, steps = statuses(events)
    assert (status, steps) == ("cancelled", entered.after)
    of_plan = Counter(state for step, state in steps.items() if not step.endswith(".undo"))
    assert (end["data"]["reason"], end["data"]["steps"]) == (REASON, of_plan)
    for one in lab.of(ident, "step.cancelled"):
        data, unknown = one["data"], one["step"] in entered.unconfirmed
        assert (data["confirmed"], data["reason"]) == (not unknown, REASON), one
        assert ("cancel_unconfirmed" in data["evidence"]) == unknown, one
    held = {name for e in lab.of(ident, "lock.acquired") for name in e["data"]["tokens"]}
    given_up = {name for e in lab.of(ident, "lock.released") for name in e["data"]["tokens"]}
    assert held == given_up
    # Whatever it held or waited for is free.
    (accepted,) = lab.of(ident, "execution.accepted")
    locks = [step for step in accepted["data"]["plan"]["steps"] if step["id"] == "lock"]
    if locks:
        step = {"id": "lock", "tool": "change", "assets": locks[0]["assets"]}
        lab.until(lab.submit([step]), "execution.completed")


@pytest.mark.parametrize(
    "phase",
    [pending_approval, paused_between_steps, paused_while_a_step_acts, queued, waiting_for_a_lock,
     waiting_for_a_rate, running, waiting_for_a_retry, compensating],
    ids=lambda phase: phase.__name__,
)  # fmt: skip
def test_a_cancel_ends_an_execution_that_is(
    phase: Callable[[CancelLab], Entered], lab: CancelLab
) -> None:
    entered = phase(lab)
    cancel(lab, entered)
    cancelled = lab.of(entered.execution_id, "step.cancelled")
    by_step = {one["step"]: one["data"]["evidence"] for one in cancelled}
    if phase in (running, paused_while_a_step_acts):
        assert by_step["one"]["pids_ended"]
    if phase is compensating:
        assert by_step["made.undo"]["pids_ended"]
        end = lab.of(entered.execution_id, "execution.cancelled")[0]["data"]
        assert end["compensations"] == {"cancelled": 1}
    if phase is waiting_for_a_rate:
        assert (by_step["one"]["began"], by_step["one"]["effect"]) == (False, "none")


class Race:
    """A plan of two steps, and the moment of its cancel."""

    def __init__(self, lab: CancelLab, chance: random.Random, number: int) -> None:
        """Submit the plan."""
        self.number = number
        self.file = lab.folder / f"race-{number}"
        words = ["sh", "-c", f"sleep 0.0{chance.randrange(6)}; : > {self.file}"]
        pause = {"seconds": chance.uniform(0.01, 0.06)}
        self.ident = lab.submit(
            [{"id": "one", "tool": "argv", "parameters": {"argv": words}},
             {"id": "two", "tool": "sleep", "parameters": pause}]
        )  # fmt: skip
        self.aim, self.step = chance.choice(_AIMS)
        self.late = chance.uniform(0, _LATE_SECONDS)
        self.sent = False
        #: How many of its events were looked at.
        self.events = 0

    def has_news(self, lab: CancelLab) -> bool:
        """There are events that were not looked at: what is looked at costs the others time."""
        return len(lab.log.events[self.ident]) > self.events

    def decision(self, lab: CancelLab) -> dict[str, Any] | None:
        """What the router said about the cancel."""
        found = lab.of(self.ident, "audit.decision")
        return next((one for one in found if one["data"]["action"] == "cancel"), None)

    def is_over(self, lab: CancelLab) -> bool:
        """It has ended, and its cancel was answered."""
        return bool(lab.log.ends(self.ident)) and self.decision(lab) is not None

    def check(self, lab: CancelLab) -> tuple[str, str]:
        """Its end, and the state of the step that the cancel met."""
        events = lab.log.events[self.ident]
        decision = self.decision(lab)
        assert decision is not None
        (end,) = lab.log.ends(self.ident)
        expected = "execution.cancelled" if decision["data"]["allowed"] else "execution.completed"
        assert end == expected, events
        for step in ("one", "two"):
            ended = [e for e in events if e.get("step") == step
                     and e["type"].removeprefix("step.") in STEP_ENDED]  # fmt: skip
            (only,) = ended
            assert only["type"] in ("step.succeeded", "step.cancelled"), only
            if end == "execution.completed":
                assert only["type"] == "step.succeeded"
            late = {e["data"]["report"] for e in lab.of(self.ident, "step.late_result", step)}
            assert not (only["type"] == "step.cancelled" and "succeeded" in late), events
            if step == "one" and only["type"] == "step.succeeded":
                assert self.file.exists()
            elif step == "one":
                evidence = only["data"]["evidence"]
                nothing = evidence.get("started") is False or evidence.get("effect") == "none"
                assert not (nothing and self.file.exists()), only
                assert only["data"]["confirmed"] != ("cancel_unconfirmed" in evidence), only
        _, steps = statuses(events[: decision["seq"] - 1])
        living = [(step, steps.get(step, "pending")) for step in ("one", "two")]
        met = next((f"{step} {state}" for step, state in living if state not in STEP_ENDED), "over")
        return end, met


@pytest.mark.timeout(180)
def test_of_a_cancel_and_a_completion_that_race_one_wins(
    lab: CancelLab, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED)
    began = time.monotonic()
    racing: list[Race] = []
    races: list[Race] = []
    due: list[tuple[float, int, Race]] = []
    while racing or len(races) < RACES:
        while len(racing) < _AT_ONCE and len(races) < RACES:
            races.append(Race(lab, chance, len(races)))
            racing.append(races[-1])
        lab.lab.read(0.005)
        assert time.monotonic() - began < 150, (len(racing), len(races), lab.lab.tails())
        now = time.monotonic()
        for race in racing:
            if not race.sent and race.has_news(lab) and lab.of(race.ident, race.aim, race.step):
                race.sent = True
                heapq.heappush(due, (now + race.late, race.number, race))
        while due and due[0][0] <= now:
            lab.control("cancel", heapq.heappop(due)[2].ident)
        racing = [race for race in racing if not (race.has_news(lab) and race.is_over(lab))]
        for race in racing:
            race.events = len(lab.log.events[race.ident])
    took = time.monotonic() - began
    assert lab.left() == []
    lab.lab.check_log(race.ident for race in races)
    ends: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for race in races:
        end, state = race.check(lab)
        ends[end] += 1
        met[state] += 1
    figures = f"{RACES} races in {took:.1f} s: {dict(ends)}; the cancels met {dict(met)}"
    print(figures)
    record_property("figures", figures)
    assert min(ends.values()) > RACES / 20 and len(ends) == 2, ends


# These two begin with the lab, and are over only after a lease and after half a minute.


def test_a_cancel_ends_an_execution_that_needs_attention(lab: CancelLab) -> None:
    entered = needs_attention(lab)
    assert lab.left(entered.execution_id) == [], "the program ends with its executor"
    cancel(lab, entered)


def test_a_cancel_that_no_executor_answers_is_not_confirmed(lab: CancelLab) -> None:
    unconfirmed = frozenset({"one"})
    check(lab, Entered(lab.unserved(), "approved", {}, {"one": "cancelled"}, unconfirmed))
