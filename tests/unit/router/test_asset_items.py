"""Items from the inventory: a step of its own asks for them, and says what it found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.router.simulation import Simulation, kinds
from tests.unit.router.test_blocks import noop, statuses, taken

WEB = {"assets": {"tags": {"role": "web"}}}


def submitted(*steps: dict[str, Any], **plan: Any) -> Simulation:
    simulation = Simulation()
    simulation.submit({"steps": [*steps], **plan})
    return simulation


def answer(simulation: Simulation, *names: str, total: int | None = None) -> None:
    found = {"assets": [], "hostnames": [*names], "count": 0}
    total = len(names) if total is None else total
    simulation.run(simulation.take(), {**found, "total": total})


def test_a_step_runs_for_every_asset_that_matches() -> None:
    each = noop("each", for_each=WEB, parameters={"value": "{{ item }}"})
    simulation = submitted(noop("a"), each, noop("z"), environment="staging")
    simulation.run(simulation.take())
    query = simulation.commands[0]
    assert (query["step"], query["tool"]) == ("each_assets", "asset_query")
    assert query["parameters"] == {
        "environment": "staging", "limit": 500, "tags": {"role": "web"},
    }  # fmt: skip
    answer(simulation, "web-01", "web-02")
    assert [c["parameters"]["value"] for c in simulation.commands] == ["web-01", "web-02"]
    for _ in range(2):
        simulation.run(simulation.take())
    assert taken(simulation) == ["z"]


def test_a_block_runs_for_every_asset() -> None:
    block = {"id": "roll", "for_each": WEB, "max_parallel": 1, "steps": [noop("a"), noop("b")]}
    simulation = submitted(block)
    answer(simulation, "web-01", "web-02")
    for name in ("roll[0].a", "roll[0].b", "roll[1].a", "roll[1].b"):
        assert taken(simulation) == [name]
        simulation.run(simulation.take())
    assert simulation.events[-1]["type"] == "execution.completed"


def test_none_and_more_than_one_page_fail_and_run_nothing() -> None:
    for names, total in (((), 0), (("web-01",), 501)):
        simulation = submitted(noop("each", for_each=WEB))
        answer(simulation, *names, total=total)
        error = next(e for e in simulation.events if e["type"] == "step.failed")["data"]["error"]
        assert error["class"] == "check_failed"
        assert f"{total} assets match" in error["message"]
        assert simulation.commands == []


def test_none_may_be_allowed_and_a_condition_comes_first() -> None:
    simulation = submitted(noop("each", for_each={**WEB, "allow_none": True}))
    answer(simulation)
    assert statuses(simulation)["each"] == "succeeded"
    simulation = submitted(noop("each", for_each=WEB, when="plan.environment == 'prod'"))
    assert simulation.commands == []
    assert statuses(simulation) == {"each": "skipped", "each_assets": "skipped"}


@pytest.mark.parametrize(
    ("steps", "field", "words"),
    [
        ([noop("a", for_each={"assets": {"tag": "web"}})], "plan.steps[0].for_each", "tag"),
        ([noop("a", for_each={"hosts": {}})], "plan.steps[0].for_each", ""),
        ([noop("a", for_each=WEB), noop("a_assets")], "plan.steps[1].id", "unique"),
        ([noop("a" * 60, for_each=WEB)], "plan.steps[0].id", "short"),
    ],
)
def test_bad_items_are_rejected(steps: list[dict[str, Any]], field: str, words: str) -> None:
    events = Simulation().submit({"steps": steps})
    assert kinds(events) == ["execution.rejected"]
    problems = events[0]["data"]["problems"]
    assert any(p["field"].startswith(field) and words in p["message"] for p in problems), problems
