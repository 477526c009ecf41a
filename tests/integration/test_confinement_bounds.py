"""How much a program of a step may use, and that one that wants more ends only its own step."""

from __future__ import annotations

import asyncio
import resource
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers import process_cgroups
from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from drivers.step_users import StepUsers
from runtime.settings import SettingsError
from runtime.step_limits import StepLimits
from tests.driver_kit import Run, settings, until
from tests.integration.confinement_lab import PYTHON, as_root, limited, needs_python, run
from tests.integration.local_lab import argv

pytestmark = needs_python

#: Processes of one user id that live until they are killed, as many as it may have.
_MANY = textwrap.dedent("""
    import os, sys, time
    made = 0
    while made < 400:
        try:
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
        except OSError:
            break
        made += 1
        print(made, flush=True)
    time.sleep(600)
""")


def bounded(**wanted: Any) -> int:
    """How many processes a program could start that is ended for their number."""
    few = {"step_limits": StepLimits(processes=32), **wanted}
    outcome, attempt = run(PYTHON, "-I", "-S", "-c", _MANY, wanted=few)
    assert isinstance(outcome, Failure) and outcome.error_class == "limit_exceeded", outcome
    assert "processes of RUNSTREAM_STEP_LIMITS" in outcome.message
    return int(bytes(attempt.output.stdout).split()[-1])


@as_root
@pytest.mark.usefixtures("cgroups_alone")
@pytest.mark.parametrize("wanted", [{}, {"step_user": "root"}, {"step_user": "nobody"}])
def test_the_kernel_bounds_the_processes_of_a_step(wanted: dict[str, Any]) -> None:
    """Also for root, and for an account that several steps share: by a cgroup."""
    if wanted and process_cgroups.find() is None:
        pytest.skip("this machine lets nobody make a cgroup")
    before = cgroups_left()
    assert 0 < bounded(**wanted) < 32
    asyncio.run(until(lambda: cgroups_left() == before, 20))


def cgroups_left() -> set[Path]:
    own = process_cgroups.find()
    return set() if own is None else set(own.glob("runstream-*"))


@as_root
def test_root_without_any_bound_of_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_cgroups, "find", lambda: None)
    monkeypatch.setattr(process_cgroups, "bounded", lambda: False)
    with pytest.raises(SettingsError, match=r"pids\.max"):
        StepUsers(settings(step_user="root"))
    notice = StepUsers(settings(root_tools="tcpdump")).notice()
    assert notice is not None and "RUNSTREAM_ROOT_TOOLS" in notice
    monkeypatch.setattr(process_cgroups, "bounded", lambda: True)
    StepUsers(settings(step_user="root"))


def test_limits_are_measured_though_children_end_all_the_time() -> None:
    """Each end of a child wakes the supervisor; it measures by the clock."""
    script = (
        "import os, time\n"
        "def orphan():\n"
        " if os.fork() == 0:\n"
        "  if os.fork() == 0: os._exit(0)\n"
        "  os._exit(0)\n"
        " os.wait()\n"
        "for n in range(10**6):\n"
        " orphan()\n"
        " for m in range(20): open(f'{n}-{m}', 'w')\n"
    )
    few = StepLimits(scratch_files=100)
    failure = limited(PYTHON, "-I", "-S", "-c", script, limits=few)
    assert "scratch_files" in failure.message


def test_memory_that_is_shared_counts_too() -> None:
    script = (
        "import mmap, time\n"
        "memory = mmap.mmap(-1, 256 * 2**20)\n"
        "for at in range(0, len(memory), 4096): memory[at] = 1\n"
        "time.sleep(600)\n"
    )
    few = StepLimits(memory_bytes=128 * 2**20)
    assert "memory_bytes" in limited(PYTHON, "-I", "-S", "-c", script, limits=few).message


def test_where_no_descriptor_is_left_a_start_loses_none() -> None:
    async def inside() -> tuple[Outcome, int, int]:
        opened = Resources(settings())
        assert isinstance(await Run(opened, argv("true")).outcome(), Success)
        before = psutil.Process().num_fds()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        failed: list[Outcome] = []
        try:
            for room in range(1, 9):
                resource.setrlimit(resource.RLIMIT_NOFILE, (before + room, hard))
                failed.append(await Run(opened, argv("true", stdin="text")).outcome())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert isinstance(await Run(opened, argv("true")).outcome(), Success)
        after = psutil.Process().num_fds()
        await opened.close()
        refused = next(one for one in failed if isinstance(one, Failure))
        return refused, before, after

    refused, before, after = asyncio.run(inside())
    assert isinstance(refused, Failure) and refused.error_class == "busy" and refused.transient
    assert after == before


def beside_others(open_folder: Path, *words: str, limits: StepLimits) -> tuple[Outcome, Run]:
    """Run a program that exceeds a limit; all that run before, beside and after it end well."""
    go = open_folder / "go"
    script = f"echo begun; while ! test -e {go}; do sleep 0.05; done; echo done"

    async def inside() -> tuple[Outcome, Run]:
        opened = Resources(settings(step_limits=limits))
        try:
            neighbour = Run(opened, argv("sh", "-c", script))
            task = asyncio.create_task(neighbour.outcome(60))
            await until(lambda: b"begun" in neighbour.output.stdout)
            attempt = Run(opened, argv(*words))
            exceeding = asyncio.create_task(attempt.outcome(60))
            others = [await Run(opened, argv("echo", "fine")).outcome() for _ in range(3)]
            outcome = await exceeding
            go.touch()
            others.append(await task)
            assert all(isinstance(one, Success) for one in others), others
            assert bytes(neighbour.output.stdout) == b"begun\ndone\n"
            return outcome, attempt
        finally:
            await opened.close()

    return asyncio.run(inside())


_BOMB = "b() { b | b & }; b; sleep 600"


@as_root
def test_a_fork_bomb_ends_only_its_own_step(open_folder: Path) -> None:
    """Only with a user id of its own: the kernel bounds the processes of no other step."""
    before = len(psutil.pids())
    began = time.monotonic()
    few = StepLimits(processes=64)
    outcome, _ = beside_others(open_folder, "bash", "-c", _BOMB, limits=few)
    assert isinstance(outcome, Failure) and outcome.error_class == "limit_exceeded", outcome
    assert "processes of RUNSTREAM_STEP_LIMITS" in outcome.message
    assert time.monotonic() - began < 30
    asyncio.run(until(lambda: len(psutil.pids()) < before + 20, 10))


def test_a_memory_hog_ends_only_its_own_step(open_folder: Path) -> None:
    few = StepLimits(memory_bytes=128 * 2**20)
    at_once = "x = bytearray(1024 * 2**20)"
    slowly = "import time\nx = []\nwhile True: x.append(bytearray(2**20)); time.sleep(0.003)"
    forked = (
        "import os, time\nfor _ in range(6):\n if os.fork() == 0: break\n"
        "x = bytearray(40 * 2**20); time.sleep(600)"
    )
    outcome, _ = beside_others(open_folder, PYTHON, "-I", "-S", "-c", slowly, limits=few)
    assert isinstance(outcome, Failure) and outcome.error_class == "limit_exceeded", outcome
    assert "memory_bytes of RUNSTREAM_STEP_LIMITS" in outcome.message
    failure = limited(PYTHON, "-I", "-S", "-c", forked, limits=few)
    assert "memory_bytes of RUNSTREAM_STEP_LIMITS" in failure.message
    # What it asks for in one call it does not get: an error of its own.
    outcome, attempt = run(PYTHON, "-I", "-S", "-c", at_once, wanted={"step_limits": few})
    assert isinstance(outcome, Failure) and b"MemoryError" in attempt.output.stderr


def test_very_many_files_end_only_their_own_step(open_folder: Path) -> None:
    script = "import os\nprint(os.getcwd(), flush=True)\nfor n in range(10**6): open(str(n), 'w')"
    words = (PYTHON, "-I", "-S", "-c", script)
    outcome, attempt = beside_others(open_folder, *words, limits=StepLimits())
    assert isinstance(outcome, Failure) and outcome.error_class == "limit_exceeded", outcome
    assert "scratch_files" in outcome.message
    folder = Path(bytes(attempt.output.stdout).decode().strip())
    asyncio.run(until(lambda: not folder.exists(), 60))


def test_the_kernel_bounds_the_open_files_of_each_process(open_folder: Path) -> None:
    """A program at the limit gets an error of its own, and a child as many files again."""
    script = textwrap.dedent("""
        import os
        def opened():
            held = []
            try:
                for _ in range(100_000):
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError as error:
                print(error.strerror, held[-1], flush=True)
            for one in held:
                os.close(one)
        opened()
        if os.fork() == 0:
            opened()
            os._exit(0)
        os.wait()
    """)
    words = (PYTHON, "-I", "-S", "-c", script)
    outcome, _ = beside_others(open_folder, *words, limits=StepLimits(open_files=64))
    assert isinstance(outcome, Success), outcome
    assert outcome.output["text"] == "Too many open files 63\n" * 2


def test_large_files_and_output_end_only_their_own_step() -> None:
    mib = 2**20
    one = ("sh", "-c", "head -c 8M /dev/zero > file; sleep 600")
    failure = limited(*one, limits=StepLimits(scratch_bytes=4 * mib))
    assert "scratch_bytes" in failure.message
    script = "with open('file', 'wb') as file: file.write(bytes(8 * 2**20))"
    python = (PYTHON, "-I", "-S", "-c", f"import signal\n"
              f"signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n{script}")  # fmt: skip
    failure = limited(*python, limits=StepLimits(file_bytes=4 * mib))
    assert "file_bytes" in failure.message
    failure = limited("yes", limits=StepLimits(output_bytes=2 * mib))
    assert "output_bytes" in failure.message
