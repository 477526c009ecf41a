"""Programs on this machine: what goes in, what comes out, and that they die with the executor."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from drivers.context import Failure, Success
from drivers.output import OutputPublisher
from streams import envelope
from tests.driver_kit import Run, command, until
from tests.integration.local_lab import (
    alive,
    argv,
    pids_in,
    resources,
    run,
    skip_where_root_is_unbounded,
)


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
    assert given == {"PATH", "HOME", "LANG", "TMPDIR", "STEP_ATTEMPT", "ADDED"}
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


@pytest.mark.parametrize("own", [False, True])
def test_a_background_process_holds_nobody_up(own: bool) -> None:
    """It goes on where its user is the executor's, and is ended where it has one of its own."""
    if own and os.geteuid() != 0:
        pytest.skip("only root can give a program a user of its own")
    if not own:
        skip_where_root_is_unbounded()
    wanted: dict[str, object] = {} if own else {"step_user": getpass.getuser()}
    outcome, attempt = run(argv("sh", "-c", "echo begun; setsid sleep 20 & echo $!"), wanted)
    assert isinstance(outcome, Success)
    pid = int(bytes(attempt.output.stdout).split()[1])
    assert outcome.output.get("left_running", False) is not own
    assert alive(pid) is not own
    if not own:
        os.kill(pid, signal.SIGKILL)


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


def test_everything_dies_with_a_killed_executor(open_folder: Path) -> None:
    script = (
        f"touch {open_folder}/$$; sleep 600 & touch {open_folder}/$!; "
        f"(env -i setsid sleep 602 & touch {open_folder}/$!); wait"
    )
    executor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_EXECUTOR), script],
        cwd=Path(__file__).parents[2],
    )
    try:
        asyncio.run(until(lambda: len(pids_in(open_folder)) == 3))
        assert all(alive(pid) for pid in pids_in(open_folder))
    finally:
        executor.kill()
        executor.wait()
    asyncio.run(until(lambda: not any(alive(pid) for pid in pids_in(open_folder)), 5))


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
