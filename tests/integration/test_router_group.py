"""Two routers, real broker: a frozen one, one that leaves, one that is killed, under load."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.router_lab import EXECUTOR, RouterLab, router_lab
from tests.integration.stopping_router import POINTS

#: Three source topics of eight partitions each.
ALL = 24


@pytest.fixture
def routers(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[RouterLab]:
    with router_lab(kafka, topics(), tmp_path) as made:
        made.start("executor", EXECUTOR, concurrency=256)
        yield made


def shares(lab: RouterLab) -> list[int]:
    """How the partitions are shared out among the members of the group."""
    return sorted(lab.members().values())


@pytest.mark.slow
@pytest.mark.timeout(180)
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
    asked.touch()
    keys |= routers.load(100)
    routers.until(lambda: routers.is_stopped("frozen"), "the router stops in a commit")
    keys |= routers.load(50)
    routers.until(lambda: shares(routers) == [ALL], "the other one takes over")
    # The fault itself: it stays frozen while its successor reads the changelog.
    time.sleep(3)
    routers.signal("frozen", signal.SIGCONT)
    keys |= routers.load(50)
    routers.check(keys)
    routers.until(lambda: shares(routers) == [ALL // 2, ALL // 2], "it is a member again")
    routers.check(keys | routers.load(20))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_routers_that_join_leave_and_die_under_load(routers: RouterLab) -> None:
    routers.start("one")
    keys = routers.load(200)
    routers.start("two")
    routers.until(lambda: shares(routers) == [ALL // 2, ALL // 2], "the second one joins")
    keys |= routers.load(200)
    routers.signal("two", signal.SIGTERM)
    # Well below the session: the member leaves the group instead of letting it run out.
    routers.until(lambda: shares(routers) == [ALL], "the second one leaves", seconds=4)
    assert routers.processes["two"].wait(20) == 0
    keys |= routers.load(200)
    routers.start("three")
    routers.until(lambda: shares(routers) == [ALL // 2, ALL // 2], "the third one joins")
    keys |= routers.load(200)
    routers.signal("one", signal.SIGKILL)
    keys |= routers.load(200)
    routers.until(lambda: shares(routers) == [ALL], "the third one takes over")
    routers.check(keys)
