"""kill -9 of every process in the middle of 500 running plans."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.harness import Harness

PLANS = 500
STEPS: list[dict[str, Any]] = [
    {"tool": "sleep", "parameters": {"seconds": 0.1}},
    {"tool": "noop"},
    {"tool": "noop"},
]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", ["router", "executor-test", "sink", "projector"])
def test_kill_in_the_middle(harness: Harness, victim: str) -> None:
    seed = 20261120
    share = random.Random(f"{seed}-{victim}").uniform(0.15, 0.6)
    print(f"seed {seed}: {victim} dies when {share:.0%} of {PLANS} plans have ended")
    keys = harness.submit(PLANS, STEPS, timeout_seconds=600)
    harness.wait_ended(keys, share)
    killed = harness.kill(victim)
    ids = harness.wait_ended(keys)
    harness.wait_back(victim, killed)
    assert len(ids) == PLANS
    harness.check_log(ids.values())
    effects = harness.check_ledger(ids.values())
    assert effects >= PLANS * len(STEPS)
    harness.check_rows(ids.values())
    harness.check_progress(ids.values())
    ends = {harness.log.ends(execution_id)[0] for execution_id in ids.values()}
    assert ends == {"execution.completed"}
