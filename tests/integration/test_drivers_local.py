"""Programs on this machine: real processes, ended for certain."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from drivers import stopping
from drivers.context import Failure, Stop, Success
from drivers.output import OutputPublisher
from drivers.resources import Resources
from streams import envelope
from tests.driver_kit import Run, block_until_over, command, settings, until
from toolmeta.invocation import Invocation


@asynccontextmanager
async def resources() -> AsyncIterator[Resources]:
    opened = Resources(settings())
    try:
        yield opened
    finally:
        await opened.close()


def argv(*words: str, **more: object) -> Invocation:
    return Invocation("argv", "command", argv=words, **more)  # type: ignore[arg-type]


def child_names() -> set[str]:
    """Names of the living children of this process."""
    found = set()
    for child in psutil.Process().children():
        try:
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(child.name())
        except psutil.NoSuchProcess:
            continue
    return found


def run(invocation: Invocation, **more: object) -> tuple[object, Run]:
    async def inside() -> tuple[object, Run]:
        async with resources() as opened:
            attempt = Run(opened, invocation, **more)  # type: ignore[arg-type]
            return await attempt.outcome(), attempt

    return asyncio.run(inside())


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def pids_in(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def test_output_exit_code_and_streams() -> None:
    outcome, attempt = run(argv("sh", "-c", "echo out; echo err >&2"))
    assert outcome == Success({"exit_code": 0, "text": "out\n"})
    assert bytes(attempt.output.stdout) == b"out\n"
    assert bytes(attempt.output.stderr) == b"err\n"


def test_stdin_and_environment() -> None:
    os.environ["CANARY_OF_THE_EXECUTOR"] = "leaked"
    try:
        script = 'cat; echo "$ADDED:$CANARY_OF_THE_EXECUTOR:$LANG"'
        outcome, _ = run(argv("sh", "-c", script, stdin="typed\n", env={"ADDED": "yes"}))
    finally:
        del os.environ["CANARY_OF_THE_EXECUTOR"]
    assert isinstance(outcome, Success)
    assert outcome.output["text"] == "typed\nyes::C.UTF-8\n"


def test_a_program_gets_these_variables_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "SECRET_TOKEN", "RUNSTREAM_SSH_KEY_FILE", "SMTP_PASSWORD"):
        monkeypatch.setenv(name, "canary")
    outcome, attempt = run(argv("env", "-0", env={"ADDED": "yes"}))
    assert isinstance(outcome, Success)
    lines = bytes(attempt.output.stdout).decode().split("\0")
    given = {line.partition("=")[0] for line in lines if line}
    assert given == {"PATH", "HOME", "LANG", "STEP_ATTEMPT", "ADDED"}
    assert b"canary" not in attempt.output.stdout


def test_stdin_that_nobody_reads() -> None:
    outcome, _ = run(argv("true", stdin="x" * 1_000_000))
    assert isinstance(outcome, Success)


def test_exit_status_names_the_last_error_line_and_keeps_the_output() -> None:
    outcome, _ = run(argv("sh", "-c", "echo part; echo no such disk >&2; exit 3"))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "exit_status"
    assert outcome.message == "sh ended with exit code 3: no such disk"
    assert outcome.output == {"exit_code": 3, "text": "part\n"}
    assert not outcome.transient


def test_other_success_codes() -> None:
    outcome, _ = run(argv("sh", "-c", "exit 1", success_codes=(0, 1)))
    assert isinstance(outcome, Success)
    assert outcome.output["exit_code"] == 1


def test_ended_by_a_signal() -> None:
    outcome, _ = run(argv("sh", "-c", "kill -9 $$"))
    assert isinstance(outcome, Failure)
    assert outcome.message == "sh was ended by signal 9"


def test_missing_program() -> None:
    outcome, _ = run(argv("no-such-program-here"))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "program_missing"
    assert "no-such-program-here" in outcome.message
    assert not outcome.transient


@pytest.mark.parametrize(
    "word", ["; id", "$(id)", "`id`", "a\nb", "-oProxyCommand=x", "@f", "\u2013x"]
)
def test_arguments_arrive_as_they_are(word: str) -> None:
    outcome, attempt = run(argv("printf", "%s", word))
    assert isinstance(outcome, Success)
    assert bytes(attempt.output.stdout).decode() == word


def test_nul_is_refused() -> None:
    outcome, _ = run(argv("printf", "a\x00b"))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "invalid_parameters"


def test_unparsable_output_is_said_and_kept() -> None:
    outcome, _ = run(argv("echo", "{not json", parser="json"))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "output_unparsable"
    assert outcome.output is not None
    assert outcome.output["text"] == "{not json\n"


def test_cancel_ends_the_whole_tree_and_lists_it(tmp_path: Path) -> None:
    script = f"touch {tmp_path}/$$; sleep 600 & touch {tmp_path}/$!; sleep 600"

    async def inside() -> tuple[dict[str, object], list[int]]:
        async with resources() as opened:
            attempt = Run(opened, argv("sh", "-c", script))
            evidence = await attempt.cancelled(lambda: len(pids_in(tmp_path)) == 2)
            return evidence, pids_in(tmp_path)

    evidence, started = asyncio.run(inside())
    assert len(evidence["pids_ended"]) == 3  # type: ignore[arg-type]
    assert set(started) <= set(evidence["pids_ended"])  # type: ignore[call-overload]
    assert evidence["last_signal"] == "SIGTERM"
    assert "cancel_unconfirmed" not in evidence
    assert not any(alive(pid) for pid in evidence["pids_ended"])  # type: ignore[attr-defined]


def test_cancel_finds_what_left_the_group_and_what_ignores_sigterm(tmp_path: Path) -> None:
    script = (
        f"trap '' TERM; setsid sh -c 'touch {tmp_path}/$$; sleep 600' & "
        f"(env -i setsid sleep 601 & touch {tmp_path}/$!); touch {tmp_path}/$$; "
        "while :; do sleep 600; done"
    )

    async def inside() -> dict[str, object]:
        async with resources() as opened:
            attempt = Run(opened, argv("sh", "-c", script))
            return await attempt.cancelled(lambda: len(pids_in(tmp_path)) == 3)

    evidence = asyncio.run(inside())
    assert evidence["last_signal"] == "SIGKILL"
    assert set(pids_in(tmp_path)) <= set(evidence["pids_ended"])  # type: ignore[call-overload]
    assert "cancel_unconfirmed" not in evidence
    assert not any(alive(pid) for pid in evidence["pids_ended"])  # type: ignore[attr-defined]
    ours = [
        p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "600"]
    ]
    assert not ours


def test_a_program_that_ended_before_the_cancel_has_its_own_end() -> None:
    """The executor was frozen: the program's end and the cancel meet it together."""

    async def inside(script: str) -> tuple[object, Run]:
        async with resources() as opened:
            attempt = Run(opened, argv("sh", "-c", script))
            task = asyncio.create_task(attempt.outcome())
            await until(lambda: b"begun" in attempt.output.stdout)
            (child,) = (one for one in psutil.Process().children() if one.name() == "sh")
            block_until_over(child.pid)
            task.cancel()
            return await task, attempt

    outcome, attempt = asyncio.run(inside("echo begun; read x < /dev/null; sleep 0.3; echo done"))
    assert outcome == Success({"exit_code": 0, "text": "begun\ndone\n"})
    assert attempt.context.evidence == {}
    outcome, _ = asyncio.run(inside("echo begun; sleep 0.3; exit 3"))
    assert isinstance(outcome, Failure) and outcome.error_class == "exit_status"


def test_a_program_that_succeeds_while_it_is_stopped_leaves_doubt() -> None:
    """Whether it had done all its work or gave up, its exit code does not tell."""

    async def inside(code: int) -> Run:
        async with resources() as opened:
            script = f"trap 'exit {code}' TERM; echo begun; while :; do sleep 0.05; done"
            attempt = Run(opened, argv("sh", "-c", script))
            await attempt.cancelled(lambda: b"begun" in attempt.output.stdout)
            return attempt

    attempt = asyncio.run(inside(0))
    assert attempt.context.evidence["exit_code"] == 0
    assert "may have done all its work" in attempt.context.evidence["cancel_unconfirmed"]
    attempt = asyncio.run(inside(7))
    assert attempt.context.evidence["exit_code"] == 7 and attempt.context.stop.ended
    assert "cancel_unconfirmed" not in attempt.context.evidence


def test_a_program_that_ended_by_itself_while_its_output_is_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker is away: the output cannot be published, but the exit code is known."""
    monkeypatch.setattr(stopping, "_LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(stopping, "_READ_SECONDS", 0.05)

    class Stuck:
        written = False

        async def write(self, stream: str, data: bytes) -> None:
            self.written = True
            await asyncio.Event().wait()

    async def inside() -> Stop:
        async with resources() as opened:
            output = Stuck()
            attempt = Run(opened, argv("sh", "-c", "echo done"), output=output)
            await attempt.cancelled(lambda: output.written and "sh" not in child_names())
            return attempt.context.stop

    stop = asyncio.run(inside())
    assert stop.evidence["exit_code"] == 0 and stop.effect == "done" and not stop.ended
    assert "by itself with exit code 0" in stop.evidence["cancel_unconfirmed"]


def test_the_grace_is_the_one_of_the_cancel() -> None:
    async def inside() -> dict[str, object]:
        async with resources() as opened:
            script = "trap '' TERM; echo begun; while :; do sleep 1; done"
            attempt = Run(opened, argv("sh", "-c", script))
            attempt.context.stop.grace_seconds = 0.4
            return await attempt.cancelled(lambda: b"begun" in attempt.output.stdout)

    evidence = asyncio.run(inside())
    assert evidence["last_signal"] == "SIGKILL" and evidence["grace_seconds"] == 0.4
    assert 0.4 <= evidence["seconds"] < 3  # type: ignore[operator]


def test_a_grace_longer_than_usual_is_waited_for() -> None:
    """It is known only when the cancel comes, after the program was started."""

    async def inside() -> Run:
        async with resources() as opened:
            script = "trap 'sleep 1.5; exit 7' TERM; echo begun; while :; do sleep 0.05; done"
            attempt = Run(opened, argv("sh", "-c", script))

            def ready() -> bool:
                attempt.context.stop.grace_seconds = 30.0
                return b"begun" in attempt.output.stdout

            attempt.context.stop.grace_seconds = 0.1
            await attempt.cancelled(ready)
            return attempt

    stop = asyncio.run(inside()).context.stop
    assert stop.evidence["exit_code"] == 7 and stop.evidence["last_signal"] == "SIGTERM"
    assert stop.ended


def test_no_second_program_is_started_after_a_cancel() -> None:
    async def inside() -> None:
        async with resources() as opened:
            attempt = Run(opened, argv("true"))
            attempt.context.stop.requested = True
            with pytest.raises(asyncio.CancelledError):
                await attempt.outcome()
            assert attempt.context.stop.effect == "none" and attempt.context.stop.ended

    asyncio.run(inside())


def test_cancel_at_every_early_moment_leaves_nothing() -> None:
    async def inside() -> None:
        async with resources() as opened:
            for delay in range(30):
                attempt = Run(opened, argv("sh", "-c", "sleep 600; true"))
                task = asyncio.create_task(attempt.outcome())
                for _ in range(delay):
                    await asyncio.sleep(0)
                await asyncio.sleep(delay / 10_000)
                task.cancel()
                await asyncio.wait({task})
                assert task.cancelled()

    before = {p.pid for p in psutil.process_iter()}
    asyncio.run(inside())
    left = [
        p.info["cmdline"]
        for p in psutil.process_iter(["cmdline", "environ"])
        if p.pid not in before and "STEP_ATTEMPT" in (p.info["environ"] or {})
    ]
    assert left == []


def test_a_background_process_holds_nobody_up() -> None:
    outcome, attempt = run(argv("sh", "-c", "echo begun; setsid sleep 20 & echo $!"))
    assert isinstance(outcome, Success)
    assert outcome.output["left_running"] is True
    os.kill(int(bytes(attempt.output.stdout).split()[1]), signal.SIGKILL)


_EXECUTOR = """
    import asyncio, sys
    from tests.driver_kit import Run, settings
    from drivers.resources import Resources
    from toolmeta.invocation import Invocation

    async def main():
        invocation = Invocation("argv", "command", argv=("sh", "-c", sys.argv[1]))
        run = Run(Resources(settings()), invocation)
        await run.outcome(600)

    asyncio.run(main())
"""


def test_everything_dies_with_a_killed_executor(tmp_path: Path) -> None:
    script = (
        f"touch {tmp_path}/$$; sleep 600 & touch {tmp_path}/$!; "
        f"(env -i setsid sleep 602 & touch {tmp_path}/$!); wait"
    )
    executor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_EXECUTOR), script],
        cwd=Path(__file__).parents[2],
    )
    try:
        asyncio.run(until(lambda: len(pids_in(tmp_path)) == 3))
        assert all(alive(pid) for pid in pids_in(tmp_path))
    finally:
        executor.kill()
        executor.wait()
    asyncio.run(until(lambda: not any(alive(pid) for pid in pids_in(tmp_path)), 5))


def test_one_gigabyte_of_output_does_not_grow_the_process() -> None:
    process = psutil.Process()
    published = 0
    peak = 0

    async def publish(topic: str, key: bytes, value: bytes, headers: envelope.Headers) -> None:
        nonlocal published
        await asyncio.sleep(0)
        published += len(value)

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.02)

    async def inside() -> tuple[object, OutputPublisher]:
        async with resources() as opened:
            writer = OutputPublisher(
                command(), topic="execution.output", source="test", publish=publish
            )
            warm = Run(opened, argv("true"), output=writer)
            await warm.outcome()
            before = process.memory_info().rss
            watcher = asyncio.create_task(watch())
            attempt = Run(opened, argv("head", "-c", "1G", "/dev/zero"), output=writer)
            outcome = await attempt.outcome(90)
            watcher.cancel()
            await writer.close()
            print(f"RSS {before / 2**20:.0f} -> {peak / 2**20:.0f} MiB, published {published}")
            assert peak - before < 64 * 2**20
            return outcome, writer

    outcome, writer = asyncio.run(inside())
    assert isinstance(outcome, Success)
    assert outcome.output["truncated"] is True
    summary = writer.summary("stdout")
    assert summary is not None
    assert summary.bytes == 2**30
    assert 0 < published < 8 * 64 * 2**20
