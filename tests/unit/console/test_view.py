"""What a watcher sees: the fold, the lines, the board and the outcome."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from console import outcome
from console.display import Display
from console.exits import OUTCOMES
from console.view import ExecutionView
from reading.sentences import document, sentence
from streams.events import Event, decode_event
from streams.lifecycle import TERMINAL_EVENTS
from streams.payloads import EVENT_TYPES
from streams.problems import Problem

IDENT = "01a1f7c1-4180-8a94-9234-56783662e997"
EXAMPLES = files("streams").joinpath("examples")


def event(kind: str, seq: int, data: dict[str, Any] | None = None, **around: Any) -> Event:
    example = json.loads(EXAMPLES.joinpath(f"event.{kind}.json").read_bytes())
    example |= {"execution_id": IDENT, "seq": seq, **around}
    document = {**example, "data": {**example["data"], **(data or {})}}
    return decode_event(json.dumps(document).encode())


def view(*events: Event) -> ExecutionView:
    found = ExecutionView(IDENT)
    for item in events:
        found.apply(item)
    return found


STORY = (
    event("execution.accepted", 1),
    event("execution.started", 2),
    event("step.dispatched", 3),
    event("step.started", 4),
    event("step.failed", 5),
    event("step.retry_scheduled", 6),
    event("step.started", 7, attempt=2),
    event("step.succeeded", 8),
    event("step.skipped", 9),
    event("execution.completed", 10),
)


def test_the_fold_follows_a_plan_to_its_end() -> None:
    found = view(*STORY)
    assert found.status == "completed"
    assert list(found.steps) == ["disk", "tell"]
    assert found.steps["disk"].attempt == 2
    assert found.steps["disk"].output == {"use_percent": 44, "free_kib": 22159340}
    assert found.counts() == {"succeeded": 1, "skipped": 1}
    assert found.ended is not None


def test_an_event_that_comes_twice_changes_nothing() -> None:
    found = view(*STORY)
    before = outcome.document(found)
    assert [found.apply(item) for item in STORY] == [False] * len(STORY)
    assert outcome.document(found) == before


def test_a_waiting_execution_says_why() -> None:
    assert "other than ci@acme" in view(event("execution.approval_requested", 1)).message
    given = view(event("execution.approval_requested", 1), event("execution.approval_given", 2))
    assert (given.message, given.status) == ("waits for 1 more approval", "pending_approval")
    assert "olga@acme" in view(event("execution.paused", 1)).message
    resumed = view(event("execution.paused", 1), event("execution.resumed", 2))
    assert (resumed.message, resumed.status) == ("", "running")


def test_a_late_result_changes_no_step() -> None:
    found = view(*STORY[:8], event("step.late_result", 9))
    assert found.steps["disk"].status == "succeeded"


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_every_event_is_one_sentence_and_folds(kind: str) -> None:
    example = event(kind, 2)
    words = sentence(example)
    assert words
    assert "\n" not in words
    assert "None" not in words
    assert kind not in words, "a sentence, not the name of the type"
    found = view(event("execution.accepted", 1), example)
    assert found.seq == 2
    assert (found.ended is not None) == (kind in TERMINAL_EVENTS)


def test_an_unknown_event_is_named() -> None:
    later = event("execution.queued", 1, {"why": "so"}, type="execution.teleported_home")
    assert sentence(later) == "teleported home"
    assert document(later)["data"] == {"why": "so"}
    assert view(later).seq == 1


def test_a_tool_cannot_drive_the_readers_terminal() -> None:
    evil = event(
        "step.progress", 1, {"percent": None, "message": "\x1b]0;owned\x07\x1b[2Jhi\u202e\r\n"}
    )
    words = sentence(evil)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in words)
    assert "hi" in words


def test_every_terminal_event_has_an_exit_code() -> None:
    assert set(OUTCOMES) == TERMINAL_EVENTS
    assert [int(OUTCOMES[f"execution.{kind}"]) for kind in
            ("completed", "failed", "partial", "rejected", "cancelled", "timed_out")] == [
        0, 1, 1, 3, 4, 5]  # fmt: skip


def test_a_rejection_names_each_field_and_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    outcome.tell(view(event("execution.rejected", 1)), live=False)
    captured = capsys.readouterr()
    assert "plan.steps[0].tool" in captured.err
    assert "did you mean df?" in captured.err
    assert captured.out == f"{IDENT} rejected\n"


def test_a_failure_tells_the_step_the_class_and_what_it_wrote(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = event("step.failed", 5, {"final": True})
    outcome.tell(view(*STORY[:4], failed, event("execution.failed", 6)), live=True)
    said = capsys.readouterr().err
    assert "✗ disk (df) failed after 1 attempt: web-01 refused the connection" in said
    assert "[connection_refused]" in said
    assert "ssh: connect: connection refused" in said
    assert f"runstream rerun {IDENT}" in said


def test_markup_in_data_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    outcome.problems([Problem("[b]", "[red]x[/red]")], "")
    said = capsys.readouterr().err
    assert "[red]x[/red]" in said
    assert "[b]" in said


@pytest.mark.parametrize("width", [60, 80, 110, 160])
def test_a_problem_names_the_whole_parameter_on_every_width(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    found = [
        Problem("plan.steps[12].parameters.notification_recipient", "must be an e-mail address"),
        Problem("plan.steps[0].tool", "there is no tool 'dff'; did you mean df? " * 3),
    ]
    outcome.problems(found, "")
    said = capsys.readouterr().err
    print(said)
    assert "plan.steps[12].parameters.notification_recipient" in said
    assert "…" not in said
    assert " ".join(said.split()).count("did you mean df?") == 3
    assert all(len(line) <= width for line in said.splitlines())


def test_lost_output_and_what_a_failed_step_gave_back_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stderr = {"bytes": 5000, "sha256": "x", "head": "first", "tail": "no space", "lost_bytes": 2048}
    failed = event("step.failed", 5, {"output": {"exit_code": 1}, "stderr": stderr, "final": True})
    outcome.tell(view(*STORY[:4], failed, event("execution.failed", 6)), live=True)
    said = capsys.readouterr().err
    assert "exit_code=1" in said
    assert "no space" in said
    assert "2.0 KiB of it are lost" in said


def test_the_end_tells_what_became_of_compensations() -> None:
    ended = event(
        "execution.failed", 9, {"compensations": {"succeeded": 2, "failed": 1}, "reason": None}
    )
    assert sentence(ended).endswith("; undoing: 2 succeeded, 1 failed")
    assert outcome.document(view(ended))["compensations"] == {"succeeded": 2, "failed": 1}


def waiting(reason: str, seq: int, at: str) -> Event:
    data = {"reason": reason, "message": f"because of {reason}", "until": None}
    return event("step.waiting", seq, data, at=at, step="disk", attempt=1)


@pytest.mark.parametrize("reason", ["lock", "no_executor", "target_limit", "rate_limit"])
def test_a_wait_is_shown_with_its_reason_and_how_long_it_took(
    reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ExecutionView(IDENT)
    display = Display(found, jsonl=False, quiet=False)
    begun = event("step.started", 4, at="2026-11-20T07:00:42.500Z", step="disk", attempt=1)
    for item in (*STORY[:2], waiting(reason, 3, "2026-11-20T07:00:00.000Z"), begun):
        found.apply(item)
        if item.seq == 3:
            assert found.steps["disk"].wait is not None
            assert found.steps["disk"].wait.reason == reason
        display.event(item)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].endswith(f"disk waits: because of {reason}")
    assert lines[-1].endswith(f"(after 42.5 s of waiting: {reason.replace('_', ' ')})")
    assert found.steps["disk"].wait is None


def test_a_back_off_and_an_approval_say_how_long_they_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = ExecutionView(IDENT)
    display = Display(found, jsonl=False, quiet=False)
    story = (
        event("execution.accepted", 1, at="2026-11-20T07:00:00.000Z"),
        event("execution.approval_requested", 2, at="2026-11-20T07:00:00.000Z"),
        event("execution.approved", 3, at="2026-11-20T07:02:00.000Z"),
        event("step.failed", 4, {"final": False}, at="2026-11-20T07:02:01.000Z"),
        event("step.retry_scheduled", 5, at="2026-11-20T07:02:01.000Z"),
        event("step.dispatched", 6, at="2026-11-20T07:02:04.000Z", attempt=2),
    )
    for item in story:
        found.apply(item)
        display.event(item)
    text = capsys.readouterr().err
    assert "of waiting: approval)" in text
    assert "(after 3.0 s of waiting: backoff)" in text
