"""What events mean for the tables; the first part are the reference's defects, one test each."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.patches import Patches
from sinks.records import EventRow
from sinks.rows import fold, refold
from streams.events import EVENT_TYPES
from streams.lifecycle import STATUS_AFTER, STEP_STATUS_AFTER
from tests.unit.sinks.stories import Story


def folded(story: Story, first: int = 0) -> Patches:
    result = fold(story.rows()[first:])
    assert not result.rebuild
    return result.patches


def moment(story: Story, seq: int) -> str:
    return story.at(seq).isoformat()


def test_started_at_is_set_and_stays_the_first_start() -> None:
    story = Story().add("execution.queued").add("execution.started")
    story.dispatch("s0").claim("s0").fail("s0", final=False).dispatch("s0", 2).claim("s0", 2)
    patches = folded(story)
    assert patches.executions[story.id]["started_at"] == moment(story, 3)
    assert patches.steps[story.id, "s0"]["started_at"] == moment(story, 5)
    assert patches.attempts[story.id, "s0", 2]["started_at"] == moment(story, 8)


def test_completed_at_is_empty_while_it_runs() -> None:
    story = Story().add("execution.started").dispatch("s0").claim("s0")
    patches = folded(story)
    assert patches.executions[story.id].get("completed_at") is None
    assert patches.steps[story.id, "s0"]["completed_at"] is None
    story.succeed("s0").end()
    patches = folded(story)
    assert patches.steps[story.id, "s0"]["completed_at"] == moment(story, 5)
    assert patches.executions[story.id]["completed_at"] == moment(story, 6)


def test_a_failure_that_is_tried_again_has_not_completed_the_step() -> None:
    story = Story().dispatch("s0").claim("s0").fail("s0", final=False)
    patches = folded(story)
    assert patches.steps[story.id, "s0"]["completed_at"] is None
    assert patches.steps[story.id, "s0"]["error_message"] == "exit code 2"
    attempt = patches.attempts[story.id, "s0", 1]
    assert (attempt["completed_at"], attempt["final"]) == (moment(story, 4), False)


def test_a_success_clears_the_error_and_a_status_without_one_keeps_that_of_the_execution() -> None:
    story = Story().dispatch("s0").claim("s0").fail("s0", final=False)
    story.dispatch("s0", 2).claim("s0", 2).succeed("s0", 2).end("failed", reason="no luck")
    story.add("execution.duplicate", idempotency_key="k", actor="ann")
    patches = folded(story)
    assert patches.steps[story.id, "s0"]["error_message"] is None
    assert patches.attempts[story.id, "s0", 1]["error_message"] == "exit code 2"
    assert patches.executions[story.id]["error_message"] == "no luck"


@pytest.mark.parametrize("ending", ["failed", "partial", "timed_out", "cancelled"])
def test_an_unhappy_end_is_not_recorded_as_completed(ending: str) -> None:
    story = Story().add("execution.started").end(ending, reason="because")
    patch = folded(story).executions[story.id]
    assert patch["status"] == STATUS_AFTER[f"execution.{ending}"] != "completed"
    assert patch["status_reason"] == "because"


def test_event_ids_differ() -> None:
    rows = [row for number in range(3) for row in Story(number, 3).run().rows()]
    assert len({row.event_id for row in rows}) == len(rows)


def test_an_approval_is_decided_with_who_and_when_and_an_expiry_is_recorded() -> None:
    story = Story()
    story.add(
        "execution.approval_requested",
        level=2,
        plan_hash="abc",
        requested_by="ci@acme",
        expires_at="2026-11-20T09:00:00Z",
    )
    assert folded(story).approvals[story.id]["state"] == "pending"
    assert folded(story).executions[story.id]["status"] == "pending_approval"
    yes = folded(Story().add("execution.approved", actor="ann", reason="fine"))
    approval = next(iter(yes.approvals.values()))
    assert (approval["state"], approval["decided_by"], approval["reason"]) == (
        "approved",
        "ann",
        "fine",
    )
    story.add("execution.rejected", reason="approval_expired", message="nobody came")
    late = folded(story)
    assert late.approvals[story.id]["state"] == "expired"
    assert late.executions[story.id]["error_class"] == "approval_expired"


# What else the rows must say


def test_what_is_out_is_queued_and_what_has_ended_is_not() -> None:
    story = Story(steps=2).dispatch("s0").dispatch("s1").claim("s0")
    queue = folded(story).queue
    running, waiting = queue[story.id, "s0", 1], queue[story.id, "s1", 1]
    assert running is not None and waiting is not None
    assert (running["status"], running["executor"]) == ("running", "agent-1")
    assert (waiting["status"], waiting.get("executor")) == ("dispatched", None)
    assert folded(story.succeed("s0")).queue[story.id, "s0", 1] is None


def test_the_plan_becomes_steps_and_a_dispatch_fills_their_parameters() -> None:
    story = Story(steps=3)
    patches = folded(story)
    assert [patches.steps[story.id, f"s{n}"]["step_index"] for n in range(3)] == [0, 1, 2]
    assert patches.steps[story.id, "s1"]["input_data"] == {"n": 1}
    assert patches.executions[story.id]["total_steps"] == 3
    assert folded(story.dispatch("s1")).steps[story.id, "s1"]["input_data"]["filled"] is True


def test_items_of_a_for_each_are_steps_with_a_parent() -> None:
    story = Story(steps=2).add("step.expanded", step="s1", items=2, steps=["s1[0]", "s1[1]"])
    item = folded(story).steps[story.id, "s1[1]"]
    assert (item["parent"], item["tool"], item["step_index"]) == ("s1", "noop", 1)
    assert item["status"] == "pending"


def test_carried_steps_of_a_rerun_have_succeeded_already() -> None:
    story = Story(steps=2, rerun_of="the-first", carried={"s0": {"ok": 1}})
    patches = folded(story)
    assert patches.steps[story.id, "s0"]["status"] == "succeeded"
    assert patches.steps[story.id, "s0"]["output_data"] == {"ok": 1}
    assert patches.steps[story.id, "s1"]["status"] == "pending"


def test_a_cancelled_attempt_keeps_its_evidence() -> None:
    story = Story().dispatch("s0").claim("s0")
    story.add(
        "step.cancelled",
        step="s0",
        attempt=1,
        confirmed=True,
        reason="cancelled",
        evidence={"reaped": [42]},
    )
    patches = folded(story)
    assert patches.attempts[story.id, "s0", 1]["evidence"] == {"reaped": [42], "confirmed": True}
    assert patches.queue[story.id, "s0", 1] is None


def test_a_step_that_was_never_out_can_be_cancelled() -> None:
    story = Story().add("step.cancelled", step="s0", confirmed=True, reason="cancelled")
    patches = folded(story)
    assert patches.steps[story.id, "s0"]["status"] == "cancelled"
    assert not patches.attempts


def test_a_lost_attempt_says_who_was_silent() -> None:
    story = Story().dispatch("s0").claim("s0")
    story.add(
        "step.lost", step="s0", attempt=1, executor="agent-1", lease_seconds=15.0, retry_safe=False
    )
    story.add("step.needs_attention", step="s0", attempt=1, message="an operator must say")
    story.add("execution.needs_attention", message="step s0: an operator must say")
    patches = folded(story)
    assert "agent-1 was silent for 15 s" in patches.attempts[story.id, "s0", 1]["error_message"]
    step = patches.steps[story.id, "s0"]
    assert (step["status"], step["status_reason"]) == ("needs_attention", "an operator must say")
    assert step["completed_at"] is None
    assert patches.executions[story.id]["status"] == "needs_attention"


def test_a_late_result_changes_nothing_but_the_number() -> None:
    story = Story().run()
    before = folded(story)
    story.add("step.late_result", step="s0", attempt=1, report="failed")
    after = folded(story)
    assert after.steps == before.steps
    assert after.attempts == before.attempts
    assert after.executions[story.id]["last_seq"] == len(story.values)


def test_audits_are_kept() -> None:
    story = Story().add("audit.decision", actor="ann", action="approve", allowed=False)
    (row,) = folded(story).audits
    assert (row["actor"], row["action"], row["allowed"]) == ("ann", "approve", False)


def test_a_pause_and_its_end_in_one_batch_need_nothing_else() -> None:
    story = Story().add("execution.queued").add("execution.paused", actor="ann", reason="lunch")
    patch = folded(story).executions[story.id]
    assert (patch["status"], patch["status_reason"]) == ("paused", "paused by ann: lunch")
    assert folded(story.add("execution.resumed", actor="ann")).executions[story.id]["status"] == (
        "queued"
    )


def test_an_end_of_a_pause_that_began_earlier_needs_the_whole_log() -> None:
    story = Story().add("execution.queued").add("execution.paused", actor="ann")
    story.add("execution.resumed", actor="ann")
    assert fold(story.rows()[3:]).rebuild == {story.id}
    assert refold(story.rows()).executions[story.id]["status"] == "queued"


def test_events_out_of_order_need_the_whole_log() -> None:
    rows = Story().run().rows()
    assert fold([rows[2], rows[1]]).rebuild == {rows[0].execution_id}
    assert fold([rows[0], rows[2]]).rebuild == {rows[0].execution_id}
    assert fold([rows[2], rows[1]], without={rows[0].execution_id}).rebuild == set()


@pytest.mark.parametrize("kind", sorted({*EVENT_TYPES, *STEP_STATUS_AFTER, "step.invented"}))
@pytest.mark.parametrize(
    "data",
    [
        {},
        {"plan": 1, "error": [], "steps": "x", "evidence": 3, "carried": [], "until": "now"},
        {"plan": {"steps": [1, {}, {"id": 2}]}, "expires_at": "infinity", "executor": {}},
    ],
)
def test_data_of_another_shape_never_stops_the_fold(kind: str, data: dict[str, Any]) -> None:
    story = Story()
    at = moment(story, 2)
    event = EventRow("e", story.id, 2, kind, at, "acme", "s0", 1, data, "{}")
    patches = fold([*story.rows(), event]).patches
    assert patches.executions[story.id]["last_seq"] == 2
    for patch in patches.steps.values():
        assert patch["waiting_until"] not in ("now", "infinity")
    nameless = event._replace(step=None, attempt=None)
    assert fold([*story.rows(), nameless]).patches.executions[story.id]["last_seq"] == 2
