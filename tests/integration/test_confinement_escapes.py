"""Nothing of a step goes on after its end, whatever detached itself and whoever was killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers import step_users
from drivers.context import Success
from drivers.resources import Resources
from drivers.step_users import FIRST_UID, UIDS
from runtime.step_limits import StepLimits
from tests.driver_kit import Run, settings, until
from tests.integration.confinement_lab import PYTHON, as_root, limited, needs_python, run, said
from tests.integration.local_lab import alive, argv, skip_where_root_is_unbounded

pytestmark = needs_python

_ROOT = Path(__file__).parents[2]

#: Detached from everything that a search could go by: a double fork, a session of its own, no
#: environment, no output of the attempt. It says its process id in a file.
_ESCAPE = textwrap.dedent("""
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.execve(sys.executable, [sys.executable, "-I", "-S", "-c",
                "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()));"
                "time.sleep(600)", sys.argv[1]], {})
        os._exit(0)
    os.wait()
    while not (os.path.exists(sys.argv[1]) and os.path.getsize(sys.argv[1])):
        time.sleep(0.01)
    print("escaped", flush=True)
    if sys.argv[2] == "stay":
        time.sleep(600)
""")


def _escaped(open_folder: Path) -> int:
    path = open_folder / "escaped"
    return int(path.read_text()) if path.exists() and path.read_text() else 0


@as_root
def test_what_an_earlier_step_left_with_the_user_id_is_killed_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As after a supervisor was killed; processes of other user ids go on."""
    monkeypatch.setattr(step_users, "FIRST_UID", FIRST_UID + 8 * UIDS)
    monkeypatch.setattr(step_users, "_LOCKS", tmp_path / "locks")
    monkeypatch.setattr(step_users, "UIDS", 1)
    uid = step_users.FIRST_UID
    left, other = (
        subprocess.Popen(["/bin/sleep", "600"], user=one, group=one) for one in (uid, uid + 7)
    )
    try:
        assert said("id", "-u") == f"{uid}\n"
        assert left.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


@as_root
def test_a_killed_executor_leaves_nothing_of_its_steps(open_folder: Path) -> None:
    """Nor what has detached itself from everything."""
    script = (
        "import asyncio, sys\n"
        "from drivers.resources import Resources\n"
        "from tests.driver_kit import Run, settings\n"
        "from tests.integration.local_lab import argv\n"
        "async def main():\n"
        "    opened = Resources(settings())\n"
        "    await Run(opened, argv(*sys.argv[1:])).outcome(600)\n"
        "asyncio.run(main())\n"
    )
    words = [PYTHON, "-I", "-S", "-c", _ESCAPE, f"{open_folder}/escaped", "stay"]
    executor = subprocess.Popen([sys.executable, "-c", script, *words], cwd=_ROOT)
    try:
        asyncio.run(until(lambda: _escaped(open_folder) > 0))
        assert alive(_escaped(open_folder))
    finally:
        executor.kill()
        executor.wait()
    asyncio.run(until(lambda: not alive(_escaped(open_folder)), 20))


def _shared_memory() -> set[tuple[str, ...]]:
    """Key and id of every segment: who is attached to one changes with other programs."""
    rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {tuple(row.split()[:2]) for row in rows}


@as_root
def test_memory_of_system_v_ends_with_its_step() -> None:
    if shutil.which("ipcmk") is None:
        pytest.skip("ipcmk is not installed")
    before = _shared_memory()
    assert "Shared memory id" in said("ipcmk", "-M", "1048576")
    assert _shared_memory() <= before


@pytest.mark.usefixtures("cgroups_alone")
@pytest.mark.parametrize("wanted", [{}, {"step_user": "root"}])
def test_a_cancel_ends_what_detached_itself_from_everything(
    open_folder: Path, wanted: dict[str, Any]
) -> None:
    if wanted:
        skip_where_root_is_unbounded()
        if os.geteuid() != 0:
            pytest.skip("only root can run programs as root")

    async def inside() -> dict[str, Any]:
        opened = Resources(settings(**wanted))
        words = (PYTHON, "-I", "-S", "-c", _ESCAPE, f"{open_folder}/escaped", "stay")
        attempt = Run(opened, argv(*words))
        evidence = await attempt.cancelled(lambda: b"escaped" in attempt.output.stdout)
        await opened.close()
        return evidence

    evidence = asyncio.run(inside())
    assert _escaped(open_folder) in evidence["pids_ended"]
    assert "cancel_unconfirmed" not in evidence
    assert not alive(_escaped(open_folder))


@as_root
def test_what_a_program_with_its_own_user_leaves_running_is_ended(open_folder: Path) -> None:
    outcome, _ = run(PYTHON, "-I", "-S", "-c", _ESCAPE, f"{open_folder}/escaped", "go")
    assert isinstance(outcome, Success) and "left_running" not in outcome.output
    assert not alive(_escaped(open_folder))


def test_a_limit_ends_what_detached_itself_too(open_folder: Path) -> None:
    script = '"$0" -I -S -c "$1" "$2" go; yes'
    limits = StepLimits(output_bytes=2**20)
    limited("sh", "-c", script, PYTHON, _ESCAPE, f"{open_folder}/escaped", limits=limits)
    assert not alive(_escaped(open_folder))


@pytest.mark.usefixtures("cgroups_alone")
@pytest.mark.parametrize("wanted", [{}, {"step_user": "root"}])
def test_a_killed_supervisor_ends_the_program_and_is_said(wanted: dict[str, Any]) -> None:
    if wanted:
        skip_where_root_is_unbounded()
        if os.geteuid() != 0:
            pytest.skip("only root can run programs as root")

    async def inside() -> list[int]:
        opened = Resources(settings(**wanted))
        attempt = Run(opened, argv("sh", "-c", "sleep 600 & echo $$ $!; wait"))
        task = asyncio.create_task(attempt.outcome())
        await until(lambda: b"\n" in attempt.output.stdout)
        pids = [int(word) for word in bytes(attempt.output.stdout).split()]
        supervisor = psutil.Process(pids[0]).parent()
        assert supervisor is not None and supervisor.pid != os.getpid()
        supervisor.kill()
        with pytest.raises(ConnectionError):
            await task
        # The next program is started as before.
        assert isinstance(await Run(opened, argv("true")).outcome(), Success)
        await opened.close()
        return pids

    assert not any(alive(pid) for pid in asyncio.run(inside()))
    folders = Path(tempfile.gettempdir())
    asyncio.run(until(lambda: not [*folders.glob(f"runstream-{os.getpid()}-*")], 10))


def test_a_killed_launch_server_is_replaced() -> None:
    async def inside() -> None:
        opened = Resources(settings())
        assert isinstance(await Run(opened, argv("true")).outcome(), Success)
        server = opened.launcher._server
        assert server is not None
        running = Run(opened, argv("sh", "-c", "echo begun; sleep 0.5; echo done"))
        task = asyncio.create_task(running.outcome())
        await until(lambda: b"begun" in running.output.stdout)
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert isinstance(await Run(opened, argv("true")).outcome(), Success)
        assert isinstance(await task, Success), "its supervisor is a process of its own"
        await opened.close()

    asyncio.run(inside())
