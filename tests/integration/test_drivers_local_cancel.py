"""A cancel ends the programs of an attempt for certain, and says what it knows."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers import stopping
from drivers.context import Failure, Stop, Success
from tests.driver_kit import Run, block_until_over, until
from tests.integration.local_lab import alive, argv, child_names, pids_in, resources


def test_cancel_ends_the_whole_tree_and_lists_it(open_folder: Path) -> None:
    script = f"touch {open_folder}/$$; sleep 600 & touch {open_folder}/$!; sleep 600"

    async def inside() -> tuple[dict[str, object], list[int]]:
        async with resources() as opened:
            attempt = Run(opened, argv("sh", "-c", script))
            evidence = await attempt.cancelled(lambda: len(pids_in(open_folder)) == 2)
            return evidence, pids_in(open_folder)

    evidence, started = asyncio.run(inside())
    assert len(evidence["pids_ended"]) == 3  # type: ignore[arg-type]
    assert set(started) <= set(evidence["pids_ended"])  # type: ignore[call-overload]
    assert evidence["last_signal"] == "SIGTERM"
    assert "cancel_unconfirmed" not in evidence
    assert not any(alive(pid) for pid in evidence["pids_ended"])  # type: ignore[attr-defined]


def test_cancel_finds_what_left_the_group_and_what_ignores_sigterm(open_folder: Path) -> None:
    # Seconds that no other process of the machine sleeps.
    seconds = str(600_000_000 + os.getpid())
    script = (
        f"trap '' TERM; setsid sh -c 'touch {open_folder}/$$; sleep {seconds}' & "
        f"(env -i setsid sleep 601 & touch {open_folder}/$!); touch {open_folder}/$$; "
        f"while :; do sleep {seconds}; done"
    )

    async def inside() -> dict[str, object]:
        async with resources() as opened:
            attempt = Run(opened, argv("sh", "-c", script))
            return await attempt.cancelled(lambda: len(pids_in(open_folder)) == 3)

    evidence = asyncio.run(inside())
    assert evidence["last_signal"] == "SIGKILL"
    assert set(pids_in(open_folder)) <= set(evidence["pids_ended"])  # type: ignore[call-overload]
    assert "cancel_unconfirmed" not in evidence
    assert not any(alive(pid) for pid in evidence["pids_ended"])  # type: ignore[attr-defined]
    commands = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", seconds] not in commands


#: It says which signal it got; the first process runs it, or hears of nothing itself.
_TOLD = "trap 'touch {0}/told' TERM; touch {0}/$$; while :; do sleep 0.05; done"


def _stopped(folder: Path, first: str, grace_seconds: float) -> dict[str, Any]:
    """The evidence of a cancel of a program that tells its own children; it has one child."""
    script = f"({_TOLD.format(folder)}) & {first}"

    async def inside() -> dict[str, Any]:
        async with resources() as opened:
            attempt = Run(opened, replace(argv("sh", "-c", script), stops_alone=True))
            attempt.context.stop.grace_seconds = grace_seconds
            return await attempt.cancelled(lambda: len(pids_in(folder)) == 1)

    evidence = asyncio.run(inside())
    assert "cancel_unconfirmed" not in evidence
    assert not any(alive(pid) for pid in evidence["pids_ended"])
    return evidence


def test_a_child_hears_nothing_while_the_first_process_stops_it_and_is_killed_after_the_grace(
    open_folder: Path,
) -> None:
    first = f"trap 'touch {open_folder}/first' TERM; while :; do sleep 0.05; done"
    evidence = _stopped(open_folder, first, 1.0)
    assert (open_folder / "first").exists()
    assert not (open_folder / "told").exists()
    assert evidence["last_signal"] == "SIGKILL" and evidence["seconds"] >= 1.0
    assert len(evidence["pids_ended"]) >= 2


def test_what_the_first_process_leaves_behind_is_told_at_once(open_folder: Path) -> None:
    first = "trap 'exit 7' TERM; while :; do sleep 0.05; done"
    evidence = _stopped(open_folder, first, 2.0)
    assert (open_folder / "told").exists()
    # It takes no notice of that, so it is killed in the end.
    assert evidence["last_signal"] == "SIGKILL"


def test_a_program_that_ended_before_the_cancel_has_its_own_end() -> None:
    """The executor was frozen: the program's end and the cancel meet it together."""

    async def inside(script: str) -> tuple[object, Run]:
        async with resources() as opened:
            attempt = Run(opened, argv("sh", "-c", script))
            task = asyncio.create_task(attempt.outcome())
            await until(lambda: b"begun" in attempt.output.stdout)
            every = psutil.Process().children(recursive=True)
            # Its own child has its name too, until it runs `sleep`.
            child = min((p for p in every if p.name() == "sh"), key=psutil.Process.create_time)
            block_until_over(child.pid)
            attempt.cancel(task)
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
                attempt.cancel(task)
                await asyncio.wait({task})
                assert task.cancelled()

    before = {p.pid for p in psutil.process_iter()}
    asyncio.run(inside())
    # It ends with the process that started it: another one may run steps now.
    ours = f":{os.getpid()}"
    left = [
        p.info["cmdline"]
        for p in psutil.process_iter(["cmdline", "environ"])
        if p.pid not in before and (p.info["environ"] or {}).get("STEP_ATTEMPT", "").endswith(ours)
    ]
    assert left == []


def test_a_cancel_needs_none_of_the_threads_that_look_names_up() -> None:
    """Name servers that a plan chooses can answer so slowly that every thread waits for one."""

    async def inside() -> dict[str, object]:
        answered = threading.Event()
        loop = asyncio.get_running_loop()
        async with resources() as opened:
            attempt = Run(opened, argv("sleep", "600"))
            attempt.context.stop.grace_seconds = 0.0
            waiting = [loop.run_in_executor(None, answered.wait) for _ in range(64)]
            try:
                return await attempt.cancelled(lambda: "sleep" in child_names())
            finally:
                answered.set()
                await asyncio.gather(*waiting)

    evidence = asyncio.run(inside())
    assert evidence["pids_ended"] and "cancel_unconfirmed" not in evidence
