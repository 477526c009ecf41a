"""kill -9 of every process and server in the middle of hundreds of running plans."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.harness import Harness
from tests.sizes import LONG

PLANS = 300
STEPS: list[dict[str, Any]] = [
    {"tool": "sleep", "parameters": {"seconds": 0.1}},
    {"tool": "noop"},
    {"tool": "noop"},
]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", ["router", "executor-test", "sink", "projector"])
def test_kill_in_the_middle(harness: Harness, victim: str) -> None:
    kill_in_the_middle(harness, (victim,))


@pytest.mark.slow
@pytest.mark.timeout(360)
@pytest.mark.parametrize(
    "victims",
    [*([("kafka",)] if LONG else ()), ("postgres",), ("kafka", "postgres")],
    ids="+".join,
)
def test_kill_the_servers_in_the_middle(harness: Harness, victims: tuple[str, ...]) -> None:
    kill_in_the_middle(harness, victims)


def kill_in_the_middle(harness: Harness, victims: tuple[str, ...]) -> None:
    """Every accepted plan completes, nothing is begun twice, and rows are the distinct events."""
    seed = 20261120
    share = random.Random(f"{seed}-{victims[0]}").uniform(0.15, 0.6)
    print(f"seed {seed}: {victims} die when {share:.0%} of {PLANS} plans have ended")
    keys = harness.submit(PLANS, STEPS, timeout_seconds=600)
    harness.wait_ended(keys, share)
    killed = {victim: harness.kill(victim) for victim in victims}
    ids = harness.wait_ended(keys)
    for victim, pid in killed.items():
        harness.wait_back(victim, pid)
    assert len(ids) == PLANS
    harness.check_log(ids.values())
    effects = harness.check_ledger(ids.values())
    assert effects >= PLANS * len(STEPS)
    harness.check_rows(ids.values())
    harness.check_progress(ids.values())
    ends = {harness.log.ends(execution_id)[0] for execution_id in ids.values()}
    assert ends == {"execution.completed"}
