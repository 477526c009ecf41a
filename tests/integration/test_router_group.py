"""Two routers, real broker: a frozen one, one that leaves, one that is killed, under load."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from streams.topics import (
    CONTROL,
    DEAD_LETTERS,
    EVENTS,
    EXECUTORS_CONTROL,
    LOCK_COMMANDS,
    LOCK_GRANTS,
    LOCKS_STATE,
    OUTPUT,
    REPORTS,
    REQUESTS,
    ROUTER_STATE,
    SCHEDULE_COMMANDS,
    SCHEDULES_STATE,
    TRIGGER_COMMANDS,
    TRIGGERS_STATE,
)
from streams.topics import STEPS as STEPS_OF
from tests.integration.breaking_router import MARK
from tests.integration.router_lab import EXECUTOR, STEPS, RouterLab, router_lab
from tests.integration.stopping_router import POINTS

_READ = (
    *(REQUESTS, CONTROL, REPORTS, SCHEDULE_COMMANDS, TRIGGER_COMMANDS),
    *(LOCK_COMMANDS, LOCK_GRANTS),
    *(STEPS_OF["test", "bulk"], STEPS_OF["test", "immediate"]),
)
#: What routers and an executor of the test domain read and write.
USED = (
    *_READ,
    *(DEAD_LETTERS[topic.name] for topic in _READ),
    *(EVENTS, OUTPUT, EXECUTORS_CONTROL),
    *(ROUTER_STATE, LOCKS_STATE, SCHEDULES_STATE, TRIGGERS_STATE),
)
#: Seven source topics of eight partitions each.
ALL = 56


@pytest.fixture
def routers(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[RouterLab]:
    with router_lab(kafka, topics(*USED), tmp_path) as made:
        made.start("executor", EXECUTOR, concurrency=256)
        yield made


def shares(lab: RouterLab) -> list[int]:
    """How the partitions are shared out among the members of the group."""
    return sorted(lab.members().values())


def restored_all(lab: RouterLab, name: str, since: int) -> bool:
    """Whether a router has restored all partitions after its first `since` restores."""
    lines = lab.events(name, "partitions restored")[since:]
    return any(len(line["partitions"]) == 8 for line in lines)


def take_over_and_resume(lab: RouterLab, since: int, plans: int = 0) -> set[str]:
    """Wait until the router `frozen` stands still and its successor has everything; let it go on.

    Meanwhile so many plans are submitted. The fault itself: it stays frozen while its successor
    waits for the transaction to end, shorter than the broker lets one be open.
    """
    lab.until(lambda: lab.is_stopped("frozen"), "the router stops in a commit")
    keys = lab.load(plans)
    lab.until(lambda: shares(lab) == [ALL], "the other one takes over")
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline and not restored_all(lab, "other", since):
        time.sleep(0.1)
    lab.signal("frozen", signal.SIGCONT)
    return keys


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="process states are read in /proc")
@pytest.mark.parametrize("point", POINTS)
def test_a_frozen_router_loses_nothing_and_its_successor_knows_all(
    routers: RouterLab, point: str
) -> None:
    asked = routers.folder / "stop"
    routers.start("frozen", ("-m", "tests.integration.stopping_router", point, str(asked)))
    routers.start("other")
    routers.until(lambda: shares(routers) == [ALL // 2, ALL // 2], "both have partitions")
    keys = routers.load(100)
    routers.wait_ended(keys)
    since = len(routers.events("other", "partitions restored"))
    asked.touch()
    keys |= routers.load(100)
    keys |= take_over_and_resume(routers, since, plans=50)
    keys |= routers.load(50)
    routers.check(keys)
    routers.until(lambda: shares(routers) == [ALL // 2, ALL // 2], "it is a member again")
    routers.check(keys | routers.load(20))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="process states are read in /proc")
def test_timers_of_a_frozen_router_decide_nothing_after_a_take_over(routers: RouterLab) -> None:
    """A transaction without a record is checked for the generation as well."""
    asked = routers.folder / "stop"
    program = ("-m", "tests.integration.stopping_router", "before_offsets", str(asked))
    routers.start("frozen", program)
    routers.start("other")
    routers.until(lambda: shares(routers) == [ALL // 2, ALL // 2], "both have partitions")
    retry = {"max_attempts": 2, "backoff_seconds": 8}
    steps = [{"tool": "fail", "parameters": {"times": 1}, "retry": retry}]
    keys = routers.submit(30, steps, timeout_seconds=300, sla_class="long")
    since = len(routers.events("other", "partitions restored"))

    def all_wait() -> bool:
        ids = routers.ids_of(keys).values()
        logs = [routers.log.events[one] for one in ids]
        return len(logs) == len(keys) and all(
            log[-1]["type"] == "step.retry_scheduled" for log in logs
        )

    routers.until(all_wait, "every step waits for its second attempt")
    asked.touch()
    take_over_and_resume(routers, since)
    routers.check(keys)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_routers_that_join_leave_and_die_under_load(routers: RouterLab) -> None:
    routers.start("one")
    keys = routers.load(200)
    routers.start("two")
    routers.until(lambda: shares(routers) == [ALL // 2, ALL // 2], "the second one joins")
    keys |= routers.load(200)
    routers.signal("two", signal.SIGTERM)
    assert routers.processes["two"].wait(60) == 0
    # It has left the group with its end: its session did not have to run out first.
    assert len(routers.members()) <= 1
    routers.until(lambda: shares(routers) == [ALL], "the first one has all")
    keys |= routers.load(200)
    routers.start("three")
    routers.until(lambda: shares(routers) == [ALL // 2, ALL // 2], "the third one joins")
    keys |= routers.load(200)
    routers.signal("one", signal.SIGKILL)
    keys |= routers.load(200)
    routers.until(lambda: shares(routers) == [ALL], "the third one takes over")
    routers.check(keys)


def test_undecidable_records_cost_neither_the_session_nor_their_neighbours(
    routers: RouterLab,
) -> None:
    bad = {
        orjson.dumps(
            {"idempotency_key": f"bad {n}", "plan": {"name": MARK.decode(), "steps": STEPS}}
        )
        for n in range(5)
    }
    keys = routers.load(50)
    for number, value in enumerate(sorted(bad)):
        # One key, so one partition and one batch; the others go elsewhere and between them.
        routers.produce(value, key=b"the same")
        keys |= routers.load(5 * number)
    routers.start("one", ("-m", "tests.integration.breaking_router"))
    letters = routers.dead_letters(REQUESTS, len(bad))
    assert {value for value, _ in letters} == bad and len(letters) == len(bad)
    assert {headers["runstream-error-class"] for _, headers in letters} == {"decision_failed"}
    routers.check(keys | routers.load(20))
    assert routers.events("one", "waiting") == []
    assert not [
        one for one in routers.log.events.values() if one[0]["data"].get("name") == MARK.decode()
    ]
