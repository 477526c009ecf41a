"""The executor on a real broker: claims, refusals, cancel, time limits, poison, drain."""

from __future__ import annotations

import getpass
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from streams.reports import Cancelled, Failed, Heartbeat, Refused, Succeeded, Waiting
from streams.topics import EXECUTORS_CONTROL, OUTPUT, REPORTS, STEPS, dead_letter_topic
from tests.integration.executor_lab import ExecutorLab, header_map, lab
from tests.integration.local_lab import skip_where_root_is_unbounded

BULK = STEPS["test", "bulk"]
NEEDED = (
    BULK,
    STEPS["test", "immediate"],
    dead_letter_topic(BULK),
    REPORTS,
    OUTPUT,
    EXECUTORS_CONTROL,
)


@pytest.fixture
def executors(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[ExecutorLab]:
    with lab(kafka, topics(*NEEDED), tmp_path) as made:
        yield made


def test_a_step_is_claimed_run_and_reported(executors: ExecutorLab) -> None:
    executors.start()
    sent = executors.command(parameters={"value": [1, "two"]})
    execution = executors.send(sent)
    executors.until(lambda: len(executors.of(execution)) == 2)
    started, succeeded = executors.of(execution)
    assert started.type == "started" and started.executor == "one"
    assert isinstance(succeeded, Succeeded)
    assert succeeded.output == {"value": [1, "two"]} and succeeded.stdout is None
    assert executors.ledger() == {execution: 1}
    first, last = executors.headers
    assert first["ce_id"] == f"{execution}:one:1:started".encode()
    assert last["ce_type"] == b"runstream.report.succeeded.v1"
    assert last["traceparent"] == b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_reports_of_attempts_that_run_together_share_records(executors: ExecutorLab) -> None:
    sent = [executors.send(executors.command()) for _ in range(300)]
    executors.start()
    executors.until(lambda: executors.count("succeeded") == len(sent))
    assert len(executors.reports) == 2 * len(sent)
    assert all(sorted(executors.kinds(one)) == ["started", "succeeded"] for one in sent)
    assert executors.records < len(executors.reports) / 2
    assert executors.ledger() == dict.fromkeys(sent, 1)


def test_what_cannot_start_is_refused_with_the_reason(executors: ExecutorLab) -> None:
    late = executors.send(executors.command(expires_at="2026-01-01T00:00:00Z"))
    unknown = executors.send(executors.command("no_such_tool"))
    wrong = executors.send(executors.command("sleep", parameters={"seconds": "soon"}))
    stopped = executors.command()
    executors.cancel(stopped)
    executors.send(stopped)
    executors.start()
    executors.until(lambda: executors.count("refused") == 4)
    reasons = {
        one.execution_id: (one.reason, one.message)
        for one in executors.reports
        if isinstance(one, Refused)
    }
    assert reasons[late][0] == "expired" and "expired" in reasons[late][1]
    assert reasons[unknown][0] == "invalid" and reasons[unknown][1].startswith("tool: ")
    assert reasons[wrong][0] == "invalid" and "seconds" in reasons[wrong][1]
    assert reasons[stopped["execution_id"]][0] == "cancelled"
    assert len(executors.reports) == 4 and not executors.ledger()


def test_cancel_ends_the_process_tree_and_says_so(executors: ExecutorLab) -> None:
    process = executors.start()
    sent = executors.command("argv", parameters={"argv": ["sh", "-c", "sleep 600 & sleep 600"]})
    execution = executors.send(sent)
    agent = psutil.Process(process.pid)
    children: list[psutil.Process] = []

    def grown() -> bool:
        children[:] = [one for one in agent.children(recursive=True) if "sleep" in one.name()]
        return len(children) >= 2

    executors.until(grown)
    executors.cancel(sent)
    executors.cancel(sent)
    executors.until(lambda: len(executors.of(execution)) == 2)
    end = executors.of(execution)[1]
    assert isinstance(end, Cancelled) and end.confirmed
    assert end.evidence["began"] is True and end.evidence["reason"] == "cancelled"
    assert not [one for one in children if one.is_running() and one.status() != "zombie"]


def test_a_step_is_ended_at_its_time_limit(executors: ExecutorLab) -> None:
    executors.start()
    execution = executors.send(
        executors.command("sleep", parameters={"seconds": 60}, timeout_seconds=0.8)
    )
    executors.until(lambda: len(executors.of(execution)) == 2)
    end = executors.of(execution)[1]
    assert isinstance(end, Failed) and end.timed_out
    assert end.error["class"] == "timed_out" and end.error["transient"]
    # It ended by its limit, long before it would have by itself.
    assert 0.8 <= end.duration_seconds < 30


def test_the_lease_is_renewed_with_progress(executors: ExecutorLab) -> None:
    executors.start()
    execution = executors.send(
        executors.command("sleep", parameters={"seconds": 2.2}, lease_seconds=1.2)
    )
    executors.until(lambda: "succeeded" in executors.kinds(execution))
    beats = [one for one in executors.reports if isinstance(one, Heartbeat)]
    assert len(beats) >= 2
    assert sorted(one.percent or 0 for one in beats) == [one.percent or 0 for one in beats]
    assert (beats[-1].percent or 0) > 50 and "2.2 s" in (beats[-1].message or "")


def test_poison_becomes_a_dead_letter_and_the_rest_goes_on(executors: ExecutorLab) -> None:
    poison = [b"", b"\xff\xfe\x00", b"[" * 100_000, b'{"execution_id": 1}', b"\x00\x00\x00\x00\x07"]
    for number, value in enumerate(poison):
        executors.raw(BULK, value, f"k{number}".encode(), [("traceparent", b"\xff\xfe")])
    execution = executors.send(executors.command())
    executors.raw(BULK, b'{"newer": true}', b"v", [("ce_type", b"runstream.step.command.v2")])
    executors.start()
    letters = executors.reader(f"{BULK.name}.dlq", BULK.partitions)
    found: dict[bytes | None, tuple[bytes | None, dict[str, bytes]]] = {}

    def dead() -> bool:
        for message in letters.consume(100, 0.1):
            assert message.error() is None
            assert message.value() not in found
            found[message.value()] = (message.key(), header_map(message))
        return len(found) == len(poison) + 1

    executors.until(dead)
    executors.until(lambda: executors.kinds(execution) == ["started", "succeeded"])
    letters.close()
    for number, value in enumerate(poison):
        key, headers = found[value]
        assert key == f"k{number}".encode()
        assert headers["runstream-error-class"] == b"not_a_command"
    assert found[b'{"newer": true}'][1]["runstream-error-class"] == b"unknown_version"


def test_a_cancel_that_nobody_signed_is_logged_and_the_others_count(
    executors: ExecutorLab,
) -> None:
    executors.raw(EXECUTORS_CONTROL, b"\xff nonsense", b"k", [])
    executors.raw(EXECUTORS_CONTROL, b"[1]", b"k", [])
    sent = executors.command()
    executors.cancel(sent)
    executors.start("one")
    executors.send(sent)
    executors.until(lambda: executors.kinds(sent["execution_id"]) == ["refused"])
    assert (executors.folder / "one.log").read_text().count("cancel refused") == 2


def test_a_stop_lets_running_steps_finish(executors: ExecutorLab) -> None:
    process = executors.start(drain_seconds=20)
    execution = executors.send(executors.command("sleep", parameters={"seconds": 1.5}))
    executors.until(lambda: executors.ledger()[execution] == 1)
    process.send_signal(signal.SIGTERM)
    after = executors.send(executors.command())
    assert process.wait(60) == 0
    executors.until(lambda: executors.kinds(execution) == ["started", "succeeded"])
    # What was not claimed waits for the next instance, which starts it once.
    executors.start()
    executors.until(lambda: executors.kinds(after) == ["started", "succeeded"])
    assert executors.ledger()[after] == 1


def test_a_stop_ends_what_does_not_finish_in_time(executors: ExecutorLab) -> None:
    process = executors.start(drain_seconds=2)
    execution = executors.send(executors.command("sleep", parameters={"seconds": 60}))
    executors.until(lambda: executors.ledger()[execution] == 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    executors.until(lambda: len(executors.of(execution)) == 2)
    end = executors.of(execution)[1]
    assert isinstance(end, Failed) and not end.timed_out
    assert end.error["class"] == "executor_stopped" and end.error["transient"]


def test_an_immediate_step_does_not_wait_behind_bulk_work(executors: ExecutorLab) -> None:
    executors.start(concurrency=1, immediate_concurrency=1)
    slow = [executors.send(executors.command("sleep", parameters={"seconds": 30})) for _ in "ab"]
    executors.until(lambda: sum(executors.ledger()[one] for one in slow) == 1)
    quick = executors.send(executors.command(), lane="immediate")
    executors.until(lambda: executors.kinds(quick) == ["started", "succeeded"], 10)
    # The second bulk step is not even claimed: another instance could take it.
    assert executors.count("started") == 2


def test_one_target_gets_no_more_than_its_share_and_the_wait_is_said(
    executors: ExecutorLab,
) -> None:
    """The time limit would end both, did it run while the second one waits."""
    executors.start(target_concurrency=1)
    same = [
        executors.send(
            executors.command(
                "sleep", target="web-01", parameters={"seconds": 0.8}, timeout_seconds=1.3
            )
        )
        for _ in range(2)
    ]
    executors.until(lambda: executors.count("succeeded") == 2)
    kinds = sorted((executors.kinds(one) for one in same), key=len)
    assert kinds == [
        ["started", "succeeded"],
        ["started", "waiting", "resumed", "succeeded"],
    ]
    (waiting,) = (one for one in executors.reports if isinstance(one, Waiting))
    assert waiting.reason == "target_limit"
    assert waiting.message == "web-01 is busy with 1 other attempt of this executor"
    assert executors.ledger() == dict.fromkeys(same, 1)


def test_a_wait_for_a_target_ends_with_the_command(executors: ExecutorLab) -> None:
    executors.start(target_concurrency=1)
    first = executors.send(executors.command("sleep", target="web-01", parameters={"seconds": 60}))
    executors.until(lambda: executors.ledger()[first] == 1)
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    second = executors.send(
        executors.command(
            target="web-01", timeout_seconds=0.2, lease_seconds=1.2, expires_at=soon.isoformat()
        )
    )
    executors.until(lambda: "failed" in executors.kinds(second))
    assert executors.kinds(second) == ["started", "waiting", "failed"]
    end = executors.of(second)[-1]
    assert isinstance(end, Failed) and not end.timed_out
    assert end.error["class"] == "expired" and end.error["transient"]
    # Its lease was renewed meanwhile, so that the router does not take it for lost.
    beats = [one for one in executors.reports if isinstance(one, Heartbeat)]
    assert any(one.execution_id == second for one in beats)
    assert executors.ledger()[second] == 0


def test_a_program_that_ended_during_a_freeze_is_not_called_cancelled(
    executors: ExecutorLab, open_folder: Path
) -> None:
    process = executors.start()
    begun, ended = open_folder / "begun", open_folder / "ended"
    script = f"touch {begun}; sleep 1; echo done; touch {ended}"
    sent = executors.command("argv", parameters={"argv": ["sh", "-c", script]})
    execution = executors.send(sent)
    executors.until(begun.exists)
    process.send_signal(signal.SIGSTOP)
    executors.until(ended.exists)
    executors.cancel(sent)
    process.send_signal(signal.SIGCONT)
    executors.until(lambda: len(executors.of(execution)) == 2)
    end = executors.of(execution)[1]
    assert isinstance(end, Succeeded), end
    assert end.output == {"exit_code": 0, "text": "done\n"}


def test_the_grace_of_a_cancel_is_kept(executors: ExecutorLab, open_folder: Path) -> None:
    executors.start()
    begun = open_folder / "begun"
    script = f"trap '' TERM; touch {begun}; while :; do sleep 1; done"
    sent = executors.command("argv", parameters={"argv": ["sh", "-c", script]})
    execution = executors.send(sent)
    executors.until(begun.exists)
    executors.cancel(sent, grace_seconds=0.5)
    executors.until(lambda: len(executors.of(execution)) == 2)
    end = executors.of(execution)[1]
    assert isinstance(end, Cancelled) and end.confirmed
    assert end.evidence["last_signal"] == "SIGKILL" and end.evidence["grace_seconds"] == 0.5
    assert end.evidence["seconds"] < 4 and end.evidence["effect"] == "possible"


def test_a_program_finds_no_credential_of_the_executor(
    executors: ExecutorLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECRET_TOKEN", "SMTP_PASSWORD"):
        monkeypatch.setenv(name, "w7-f3ak-value")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:w7-f3ak-value@127.0.0.1:1/x")
    monkeypatch.setenv("HARMLESS", "kept-there")
    skip_where_root_is_unbounded()
    # As whoever may read what the executor's own user may.
    process = executors.start(step_user=getpass.getuser())
    # A count is not masked.
    script = (
        'cat "/proc/$2/environ" /proc/self/environ | tr "\\0" "\\n" > "$1";'
        'tr "\\0" " " < "/proc/$2/cmdline"; echo;'
        'grep -c "f3ak[-]value" "$1"; grep -c kept-there "$1"'
    )
    found = executors.folder / "found"
    parameters = {"argv": ["sh", "-c", script, "sh", str(found), str(process.pid)]}
    execution = executors.send(executors.command("argv", parameters=parameters))
    executors.until(lambda: len(executors.of(execution)) == 2)
    ended = executors.of(execution)[-1]
    assert isinstance(ended, Succeeded), ended
    assert ended.output is not None
    lines = ended.output["text"].splitlines()
    assert "executor" in lines[0]
    assert lines[1:] == ["0", "1"]
