"""What the pages show of executions, steps and values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from api.caller import Caller
from api.rights import Rights
from authority.identity import Identity
from authority.policy_file import parse
from reading.models.events import EventView
from reading.models.executions import ExecutionDetail
from reading.models.steps import StepSummary
from tests.browser.believable import Believable, execution_id, summary
from tests.browser.believable_steps import HOSTS, many, roll_out
from tests.browser.shown import POLICY
from toolmeta import registry
from web.views.actions import buttons
from web.views.execution import head
from web.views.executions import row
from web.views.graph import graph
from web.views.layers import place
from web.views.steps import in_order, label_of, matrix, step_rows
from web.views.timeline import spans, timeline
from web.views.tree import Branch, tree

NOW = datetime.now(UTC)


def caller(*, read_only: bool = False, policy: str | None = None) -> Caller:
    rules = POLICY if policy is None else parse(policy, registry.load())
    identity = Identity("acme", "dana@acme", "key-1")
    return Caller(identity, Rights(rules, identity), read_only=read_only)


def detail(number: int, **given: Any) -> ExecutionDetail:
    return Believable().detail(execution_id(number)).model_copy(update=given)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending_approval", ["Approve", "Reject", "Cancel"]),
        ("running", ["Pause", "Cancel"]),
        ("paused", ["Resume", "Cancel"]),
        ("needs_attention", ["Resolve", "Pause", "Cancel"]),
        ("failed", ["Rerun"]),
        ("completed", []),
        ("rejected", []),
    ],
)
def test_buttons_fit_the_status(status: str, expected: list[str]) -> None:
    found = buttons(summary(0, status=status), caller(), "/x")
    assert [button.label for button in found] == expected
    assert all(button.why_not is None for button in found)


def test_buttons_say_why_somebody_may_not() -> None:
    reading = buttons(summary(0, status="running"), caller(read_only=True), "/x")
    assert {button.why_not for button in reading} == {"Your token is for reading only."}
    only_pause = caller(
        policy="version: 1\nrules:\n  - {id: p, effect: allow, actors: ['*'], controls: [pause]}\n"
    )
    pause, cancel = buttons(summary(0, status="running"), only_pause, "/x")
    assert pause.why_not is None
    assert cancel.why_not is not None and "cancel" in cancel.why_not


@pytest.mark.parametrize(
    ("number", "given", "said"),
    [
        (0, {}, "15 of 29 steps succeeded so far."),
        (1, {}, "It waits for 2 approvals. 1 of 2 given."),
        (5, {"step_counts": {"succeeded": 5}, "duration_seconds": 41.0},
         "Done. All steps succeeded in 41 s."),
        (7, {"step_counts": {"succeeded": 3, "failed": 1}}, "HTTP 502"),
        (10, {}, "Cancelled by sam@acme: wrong range."),
        (14, {}, "Nothing more starts until it is resumed. Paused by sam@acme"),
    ],
)  # fmt: skip
def test_the_head_answers_what_people_ask(number: int, given: dict[str, Any], said: str) -> None:
    assert said in head(detail(number, **given), caller(), NOW).answer


def test_time_promise_and_limit_are_on_one_scale() -> None:
    budget = head(detail(0), caller(), NOW).budget
    assert budget.elapsed_at < (budget.sla_at or 0) < (budget.limit_at or 0) <= 100
    # A limit of days does not make minutes invisible: the scale ends before it.
    far = detail(0, times_out_at=NOW + timedelta(days=3), timeout_seconds=259_200.0)
    found = head(far, caller(), NOW).budget
    assert found.limit_at is None and (found.sla_at or 0) == pytest.approx(25.0)


def test_a_row_says_why_only_where_somebody_would_ask() -> None:
    assert row(summary(5), NOW).why is None
    assert row(summary(1), NOW).why == "waits for 2 approvals, 1 given"
    assert row(summary(0), NOW).percent is not None
    assert row(summary(5), NOW).percent is None


def test_steps_stand_after_what_they_are_within_in_the_order_of_the_plan() -> None:
    steps = roll_out(NOW, NOW)
    names = [step.step for step in in_order(list(reversed(steps)))]
    assert names[3:9] == [
        "roll", "roll[0]", "roll[0].drain", "roll[0].patch", "roll[0].check", "roll[1]",
    ]  # fmt: skip
    assert sorted(names) == sorted(step.step for step in steps)
    assert (label_of("roll[0].drain"), label_of("roll[10]")) == ("drain", "[10]")


def test_the_matrix_has_the_worst_hosts_first_and_is_for_more_than_three() -> None:
    found = matrix(roll_out(NOW, NOW), "/x")
    assert found is not None
    assert found.rows[0].host == "web-03"
    # What is done to one host only stands in the list of steps.
    assert found.columns == ["roll.drain", "roll.patch", "roll.check"]
    assert {row.host for row in found.rows} == set(HOSTS)
    cell = found.rows[0].cells[found.columns.index("roll.check")]
    assert cell is not None and "HTTP 502" in cell.title
    assert cell.href == "/x?tab=steps&step=roll%5B2%5D.check"
    few = [step for step in roll_out(NOW, NOW) if step.target in ("web-01", "web-02", "web-03")]
    assert matrix(few, "/x") is None


def test_the_timeline_shows_attempts_waits_and_now_where_they_were() -> None:
    source = Believable()
    ident = execution_id(0)
    one = source.detail(ident)
    begin = one.started_at
    assert begin is not None
    now = begin + timedelta(seconds=100)
    steps = source.steps(ident, limit=500, after=None, statuses=[]).steps
    found = timeline(
        one, steps, source.attempts(ident, limit=500).attempts,
        source.events(ident, after=0, limit=500).events, now, "/x?step={step}",
    )  # fmt: skip
    lines = {line.step: line for line in found.lines}
    snapshot = lines["snapshot"]
    assert [bar.tone for bar in snapshot.bars if bar.kind == "attempt"] == ["fail", "fail", "ok"]
    waits = [bar for bar in snapshot.bars if bar.kind == "wait" and "attempt 2" in bar.title]
    assert len(waits) == 1 and waits[0].width > 1
    # 104 seconds wide: from 16.0 s on for 21.5 s.
    last = snapshot.bars[-1]
    assert [last.x, last.width] == [
        pytest.approx(100 * 16.0 / 104, abs=0.1), pytest.approx(100 * 21.5 / 104, abs=0.1),
    ]  # fmt: skip
    waiting = lines["roll[5].drain"]
    assert waiting.bars[-1].open and "held by nightly backup" in waiting.bars[-1].title
    assert found.now == pytest.approx(100 / 1.04, abs=0.1)
    assert all(0 <= bar.x <= 100 and bar.width > 0 for line in found.lines for bar in line.bars)
    assert lines["tell"].bars == []


def test_a_pause_is_a_wait_of_the_whole_plan_and_a_lost_attempt_one_of_its_step() -> None:
    def happened(seq: int, kind: str, step: str | None = None, **data: Any) -> EventView:
        at = NOW + timedelta(seconds=seq)
        return EventView(
            event_id=f"x:{seq}", seq=seq, type=kind, at=at, step=step,
            attempt=None if step is None else 1, sentence=kind, data=data,
        )  # fmt: skip

    found = spans([
        happened(1, "execution.approval_requested", reason="level 1"),
        happened(2, "execution.approval_given"),
        happened(3, "execution.approved"),
        happened(4, "step.dispatched", "a"),
        happened(5, "step.started", "a"),
        happened(6, "execution.paused", reason="paused by ann"),
        happened(7, "step.lost", "a"),
        happened(8, "step.needs_attention", "a", reason="nobody knows how far it came"),
        happened(9, "execution.resumed"),
        happened(10, "audit.decision", "a"),
    ])  # fmt: skip
    second = timedelta(seconds=1)
    assert [(one.begin, one.end, one.reason) for one in found[""]] == [
        (NOW + second, NOW + 3 * second, "level 1"),
        (NOW + 6 * second, NOW + 9 * second, "paused by ann"),
    ]
    assert [(one.begin, one.end, one.reason) for one in found["a"]] == [
        (NOW + 4 * second, NOW + 5 * second, "waits for an executor"),
        (NOW + 7 * second, NOW + 8 * second, "step.lost"),
        (NOW + 8 * second, None, "nobody knows how far it came"),
    ]


def test_nodes_lie_below_what_they_depend_on_and_never_over_each_other() -> None:
    names = [f"n{number}" for number in range(40)]
    needs = {
        name: [f"n{number // 2}", f"n{number // 3}"] if number else []
        for number, name in enumerate(names)
    }
    needs["n0"] = ["n39", "unknown"]  # a circle and a stranger: drawn all the same
    found = place(names, needs)
    assert set(found.nodes) == set(names)
    for upper, lower, points in found.edges:
        assert found.nodes[upper][1] < found.nodes[lower][1]
        assert [layer for _, layer in points] == list(
            range(found.nodes[upper][1], found.nodes[lower][1] + 1)
        )
    by_layer: dict[int, list[float]] = {}
    for column, layer in found.nodes.values():
        by_layer.setdefault(layer, []).append(column)
    for columns in by_layer.values():
        columns.sort()
        assert all(b - a > 0.99 for a, b in pairwise(columns))


def test_a_graph_folds_what_is_within_and_gives_up_where_nobody_could_read_it() -> None:
    found = graph(roll_out(NOW, NOW), "/x")
    assert found is not None
    nodes = {node.step: node for node in found.nodes}
    assert list(nodes) == ["disk", "certificate", "snapshot", "roll", "verify", "tell"]
    assert nodes["roll"].detail == "24 steps, 1 failed"
    assert sum(share.width for share in nodes["roll"].shares) == pytest.approx(182, abs=0.5)
    assert graph(many(301, NOW), "/x") is None
    assert graph([], "/x") is None


def test_a_tree_is_bounded_however_large_or_deep_the_value() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = {"x": deep}
    wide = {str(number): list(range(100)) for number in range(1_000)}

    def count(node: Any) -> int:
        return 1 + sum(count(one) for one in getattr(node, "children", ()))

    assert count(tree(deep)) < 60
    assert count(tree(wide)) < 5_000
    found = tree({"a": [1, None, "x" * 10_000], "b": {}})
    assert isinstance(found, Branch) and found.summary == "2 fields"
    texts = [one.text for one in found.children[0].children]  # type: ignore[union-attr]
    assert texts[:2] == ["1", "null"] and len(texts[2]) == 4_001


def test_a_step_of_the_list_counts_on_only_while_it_runs() -> None:
    rows = {found.step: found for found in step_rows(roll_out(NOW, NOW), "/x", NOW)}
    assert rows["roll[4].patch"].since is not None and rows["roll[4].patch"].percent == 62.0
    assert rows["disk"].since is None and rows["disk"].seconds == 1.1
    unknown = StepSummary.model_validate({**roll_out(NOW, NOW)[0].model_dump(), "status": None})
    assert step_rows([unknown], "/x", NOW)[0].look.word == "Unknown"
