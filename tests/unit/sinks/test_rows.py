"""What events mean for the tables; the first part are the reference's defects, one test each."""

from __future__ import annotations

import pytest

from sinks.patches import Patches
from sinks.records import EventRow
from sinks.rows import fold, refold
from streams.events import Event
from streams.lifecycle import STATUS_AFTER
from streams.payloads import EVENT_TYPES, Unknown
from tests.unit.sinks.stories import Story


def folded(story: Story, first: int = 0) -> Patches:
    result = fold(story.rows()[first:])
    assert not result.rebuild
    return result.patches


def moment(story: Story, seq: int) -> str:
    return story.at(seq).isoformat().replace("+00:00", "Z")


def statuses(patches: Patches, story: Story) -> tuple[str, str, str]:
    """Step, attempt and row of the queue."""
    queued = patches.queue[story.id, "s0", 1]
    assert queued is not None
    step, attempt = patches.steps[story.id, "s0"], patches.attempts[story.id, "s0", 1]
    return step["status"], attempt["status"], queued["status"]


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


def test_a_rejected_execution_keeps_the_name_of_its_plan() -> None:
    story = Story()
    story.values.clear()
    story.add("execution.rejected", reason="invalid", message="1 problem", name="patch web")
    patch = folded(story).executions[story.id]
    assert (patch["name"], patch["status"]) == ("patch web", "rejected")


def test_the_end_says_what_compensations_came_to() -> None:
    story = Story(run=3).add("execution.started")
    story.add("step.compensation_scheduled", step="s0", by="s0.undo", tool="noop").add(
        "step.compensated", step="s0", by="s0.undo"
    )
    story.add(
        "execution.failed", steps={"compensated": 1}, elapsed_seconds=1.0,
        compensations={"succeeded": 1, "failed": 1},
    )  # fmt: skip
    patches = folded(story)
    patch = patches.executions[story.id]
    assert patch["compensation_counts"] == {"succeeded": 1, "failed": 1}
    assert patch["run"] == 3
    assert patches.steps[story.id, "s0"]["status"] == "compensated"
    assert patches.steps[story.id, "s0.undo"]["undoes"] == "s0"


# What else the rows must say


def test_what_is_out_is_queued_and_what_has_ended_is_not() -> None:
    story = Story(steps=2).dispatch("s0").dispatch("s1").claim("s0")
    queue = folded(story).queue
    running, waiting = queue[story.id, "s0", 1], queue[story.id, "s1", 1]
    assert running is not None and waiting is not None
    assert (running["status"], running["executor"]) == ("running", "agent-1")
    assert (waiting["status"], waiting.get("executor")) == ("dispatched", None)
    assert folded(story.succeed("s0")).queue[story.id, "s0", 1] is None


def test_an_attempt_that_its_executor_holds_back_is_out_and_waits() -> None:
    story = Story().dispatch("s0").claim("s0")
    story.add("step.waiting", step="s0", attempt=1, reason="target_limit", message="web-01 is busy")
    patches = folded(story)
    assert statuses(patches, story) == ("waiting", "waiting", "waiting")
    assert patches.steps[story.id, "s0"]["status_reason"] == "web-01 is busy"
    patches = folded(story.add("step.resumed", step="s0", attempt=1))
    assert statuses(patches, story) == ("running", "running", "running")
    assert patches.steps[story.id, "s0"]["status_reason"] is None


def test_an_attempt_that_is_told_to_end_stays_cancelling_until_it_has() -> None:
    story = Story().dispatch("s0")
    story.add("step.cancel_requested", step="s0", attempt=1, reason="cancelled")
    cancelling = ("cancelling", "cancelling", "cancelling")
    assert statuses(folded(story), story) == cancelling
    # A claim may win the race against the cancel, in the same batch or in a later one.
    patches = folded(story.claim("s0"))
    assert statuses(patches, story) == cancelling
    assert patches.steps[story.id, "s0"]["cancel_requested_at"] == moment(story, 3)
    later = fold(story.rows()[3:], cancelling={(story.id, "s0")}).patches
    assert "status" not in later.steps[story.id, "s0"], "what is stored stays"
    assert later.steps[story.id, "s0"]["executor"] == "agent-1"
    story.add("step.cancelled", step="s0", attempt=1, confirmed=True, reason="cancelled")
    patches = folded(story)
    assert patches.steps[story.id, "s0"]["status"] == "cancelled"
    assert patches.steps[story.id, "s0"]["cancel_requested_at"] is None
    assert patches.queue[story.id, "s0", 1] is None


def test_the_plan_becomes_steps_and_a_dispatch_fills_their_parameters() -> None:
    story = Story(steps=3)
    patches = folded(story)
    assert [patches.steps[story.id, f"s{n}"]["step_index"] for n in range(3)] == [0, 1, 2]
    assert patches.steps[story.id, "s1"]["input_data"] == {"n": 1}
    assert patches.executions[story.id]["total_steps"] == 3
    assert folded(story.dispatch("s1")).steps[story.id, "s1"]["input_data"]["filled"] is True


def test_items_of_a_for_each_are_steps_with_a_parent() -> None:
    story = Story(steps=2).add(
        "step.expanded", step="s1", items=2, steps=["s1[0]", "s1[1]"], values=[1, 2]
    )
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
    assert (
        "agent-1 sent no heartbeat for 15 s" in patches.attempts[story.id, "s0", 1]["error_message"]
    )
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


@pytest.mark.parametrize("status", ["approved", "queued", "running"])
def test_a_resumed_execution_has_the_status_that_the_event_says(status: str) -> None:
    story = Story().add("execution.paused", actor="ann", reason="lunch")
    patch = folded(story).executions[story.id]
    assert (patch["status"], patch["status_reason"]) == ("paused", "paused by ann: lunch")
    story.add("execution.resumed", actor="ann", status=status)
    for first in (0, 2):
        patch = folded(story, first).executions[story.id]
        assert (patch["status"], patch["status_reason"]) == (status, None)


def test_events_out_of_order_need_the_whole_log() -> None:
    rows = Story().run().rows()
    assert fold([rows[2], rows[1]]).rebuild == {rows[0].event.execution_id}
    assert fold([rows[0], rows[2]]).rebuild == {rows[0].event.execution_id}
    assert fold([rows[2], rows[1]], without={rows[0].event.execution_id}).rebuild == set()


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_stored_data_of_an_earlier_shape_never_stops_a_rebuild(kind: str) -> None:
    story = Story()
    event = Event(story.id, 2, kind, moment(story, 2), "acme", Unknown({"plan": 1}), "s0", 1)
    patches = refold([*story.rows(), EventRow("e", event, "{}")])
    if kind == "execution.explained":
        # An execution of its own id, which never runs: no row tells of it.
        assert patches.executions[story.id]["last_seq"] == 1
        return
    assert patches.executions[story.id]["last_seq"] == 2
    assert patches.executions[story.id]["status"] == STATUS_AFTER.get(kind, "approved")


def test_what_started_it_stands_in_the_row() -> None:
    origin = {"kind": "schedule", "name": "nightly", "cause": "2026-11-20T01:30:00Z", "key": "k1"}
    story = Story(started_by=origin)
    row = folded(story).executions[story.id]
    found = (row["started_by_kind"], row["started_by"], row["started_by_cause"])
    assert found == ("schedule", "nightly", "2026-11-20T01:30:00Z")
    story = Story()
    assert folded(story).executions[story.id].get("started_by") is None
