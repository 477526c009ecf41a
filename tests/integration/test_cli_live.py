"""`run`, `submit`, `watch` and the commands against a real broker and a fake router."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console import control, follow
from console.cli import main
from console.exits import Exit
from streams.envelope import header
from streams.ids import mint_execution_id, partition_for, route_key, route_of
from streams.topics import CONTROL, EVENTS, REQUESTS
from tests.brokers import environment
from tests.integration.fake_router import ACCEPTED, ENDED, PLAN, FakeRouter, Script

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def cluster(
    kafka: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Script], FakeRouter]:
    """Starts a fake router on topics of this test's own."""
    prefix = topics(REQUESTS, CONTROL, EVENTS)
    monkeypatch.chdir(tmp_path)
    for name, value in environment(kafka).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNSTREAM_TOPIC_PREFIX", prefix)
    Path("plan.yaml").write_text(json.dumps(PLAN))
    return lambda script: FakeRouter(kafka, prefix, script)


def ending(kind: str, **data: Any) -> Script:
    return lambda document: [
        ("execution.accepted", ACCEPTED),
        ("step.started", {"executor": "agent-1"}, "disk"),
        ("step.succeeded", {"duration_seconds": 0.2, "output": {"use_percent": 41}}, "disk"),
        (f"execution.{kind}", {**ENDED, **data}),
    ]


@pytest.mark.parametrize(
    ("kind", "code"),
    [("completed", 0), ("partial", 1), ("failed", 1), ("cancelled", 4), ("timed_out", 5)],
)
def test_run_ends_with_the_code_of_the_outcome(
    cluster: Callable[[Script], FakeRouter], kind: str, code: int, capsys: Capture
) -> None:
    with cluster(ending(kind)) as router:
        assert main(["run", "plan.yaml", "--timeout", "30"]) == code
        key, headers, request = router.received[0]
    captured = capsys.readouterr()
    ident = request["execution_id"]
    status = "timeout" if kind == "timed_out" else kind
    assert captured.out == f"{ident} {status}\n"
    assert "disk succeeded in 200 ms: use_percent=41" in captured.err
    assert key.decode() == route_of(ident) == route_key("default", request["idempotency_key"])
    assert headers["ce_type"] == b"runstream.execution.request.v1"
    assert header(list(headers.items()), "ce_subject") == ident


def test_json_and_jsonl_are_data_on_stdout(
    cluster: Callable[[Script], FakeRouter], capsys: Capture
) -> None:
    with cluster(ending("completed")):
        assert main(["run", "plan.yaml", "--json"]) == Exit.OK
        captured = capsys.readouterr()
        document = json.loads(captured.out)
        assert captured.err == ""
        assert document["status"] == "completed"
        assert document["steps"][0]["output"] == {"use_percent": 41}
        assert main(["watch", document["execution_id"], "--jsonl"]) == Exit.OK
        captured = capsys.readouterr()
        assert captured.err == ""
        events = [json.loads(line) for line in captured.out.splitlines()]
    assert [event["seq"] for event in events] == [1, 2, 3, 4]


def test_a_rejection_exits_3_and_names_the_field(
    cluster: Callable[[Script], FakeRouter], capsys: Capture
) -> None:
    problems = [{"field": "plan.steps[0].tool", "message": "there is no tool 'dff'"}]
    data = {"reason": "invalid", "message": "1 problem", "problems": problems}
    with cluster(lambda document: [("execution.rejected", data)]):
        assert main(["run", "plan.yaml"]) == Exit.REJECTED
        assert "plan.steps[0].tool  there is no tool 'dff'" in capsys.readouterr().err
        assert main(["submit", "plan.yaml", "--json"]) == Exit.REJECTED
        assert json.loads(capsys.readouterr().out)["problems"] == problems


def test_a_duplicate_names_and_watches_the_first(
    cluster: Callable[[Script], FakeRouter], capsys: Capture
) -> None:
    first: list[str] = []

    def script(document: dict[str, Any]) -> list[Any]:
        if not first:
            first.append(document["execution_id"])
            return ending("completed")(document)
        again = {"of": first[0], "requested_execution_id": document["execution_id"],
                 "idempotency_key": document["idempotency_key"], "actor": "me"}  # fmt: skip
        return [("execution.duplicate", again)]

    with cluster(script):
        assert main(["run", "plan.yaml", "--key", "nightly", "--quiet"]) == Exit.OK
        assert capsys.readouterr().err == ""
        assert main(["run", "plan.yaml", "--key", "nightly", "--timeout", "30"]) == Exit.OK
        captured = capsys.readouterr()
        assert f"the first execution is {first[0]}" in captured.err
        assert captured.out == f"{first[0]} completed\n"
        assert main(["submit", "plan.yaml", "--key", "nightly"]) == Exit.OK
        assert capsys.readouterr().out == f"{first[0]}\n"


def test_submit_prints_the_id_and_watch_finds_it(
    cluster: Callable[[Script], FakeRouter], capsys: Capture
) -> None:
    with cluster(ending("failed", reason="disk failed")):
        assert main(["submit", "plan.yaml"]) == Exit.OK
        ident = capsys.readouterr().out.strip()
        assert main(["watch", ident]) == Exit.FAILED
        assert f"runstream rerun {ident}" in capsys.readouterr().err


def test_no_answer_in_time_exits_5_and_the_request_is_there(
    cluster: Callable[[Script], FakeRouter], capsys: Capture
) -> None:
    with cluster(lambda document: []):
        assert main(["run", "plan.yaml", "--timeout", "1"]) == Exit.TIMED_OUT
    assert "it goes on without this command" in capsys.readouterr().err


def test_an_execution_that_does_not_exist_is_said(
    cluster: Callable[[Script], FakeRouter], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "FIRST_EVENT_SECONDS", 0.5)
    ident = mint_execution_id("0badcafe", 1_795_158_000_000, 7)
    with cluster(lambda document: []) as router:
        # The same partition holds others, which are not it.
        same = next(
            route
            for route in (f"{n:08x}" for n in range(1_000))
            if partition_for(route.encode(), 8) == partition_for(b"0badcafe", 8)
        )
        router.emit(mint_execution_id(same, 1, 1), ("execution.accepted", ACCEPTED))
        assert main(["watch", ident]) == Exit.FAILED
    assert f"no event of execution {ident}" in capsys.readouterr().err


def test_commands_wait_for_their_answer(
    cluster: Callable[[Script], FakeRouter], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident = mint_execution_id("0badcafe", 1_795_158_000_000, 7)

    def script(document: dict[str, Any]) -> list[Any]:
        by = {"actor": document["actor"], "reason": document.get("reason")}
        match document["type"]:
            case "pause":
                return [("execution.paused", by)]
            case "approve":
                no = {"action": "approve", "allowed": False, "message": "you asked for it"}
                return [("audit.decision", {**by, **no})]
            case "rerun":
                again = {**ACCEPTED, "rerun_of": ident, "of": document["new_execution_id"]}
                return [
                    ("execution.accepted", again),
                    ("execution.completed", {**ENDED, "of": document["new_execution_id"]}),
                ]
        return []

    with cluster(script) as router:
        assert main(["pause", ident, "--actor", "olga", "--reason", "lunch"]) == Exit.OK
        assert "paused by olga: lunch" in capsys.readouterr().err
        assert main(["approve", ident, "--plan-hash", "ab" * 32]) == Exit.REJECTED
        assert "approve refused: you asked for it" in capsys.readouterr().err
        assert main(["rerun", ident, "--follow", "--json"]) == Exit.OK
        document = json.loads(capsys.readouterr().out)
        assert route_of(document["execution_id"]) == "0badcafe"
        assert document["status"] == "completed"
        monkeypatch.setattr(control, "RESPONSE_SECONDS", 0.5)
        assert main(["cancel", ident]) == Exit.TIMED_OUT
        assert main(["cancel", ident, "--no-wait"]) == Exit.OK
        assert main(["resolve", ident, "disk", "maybe"]) == Exit.USAGE
        assert main(["resolve", ident, "disk", "failed", "--output", "[]"]) == Exit.USAGE
        assert {key for key, _, _ in router.received} == {b"0badcafe"}


def test_ctrl_c_ends_the_watching_only(cluster: Callable[[Script], FakeRouter]) -> None:
    root = Path(__file__).parents[2]
    with cluster(lambda document: [("execution.accepted", ACCEPTED)]) as router:
        watcher = subprocess.Popen(
            [sys.executable, "-m", "console", "run", "plan.yaml"],
            env={**os.environ, "PYTHONPATH": str(root)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watcher.stderr is not None
        assert "accepted: 1 step" in watcher.stderr.readline()
        watcher.send_signal(signal.SIGINT)
        _, said = watcher.communicate(timeout=60)
        ident = router.received[0][2]["execution_id"]
        assert [document.get("type") for _, _, document in router.received] == [None]
    assert watcher.returncode == 130
    assert f"runstream watch {ident}" in said
    assert f"runstream cancel {ident}" in said
    assert "Traceback" not in said
