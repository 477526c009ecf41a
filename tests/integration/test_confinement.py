"""Programs of steps on this machine: as whom they run, what they may use, and that none escapes."""

from __future__ import annotations

import asyncio
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers import confinement, process_cgroups, step_users
from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from drivers.step_users import FIRST_UID, UIDS, NoUserLeft, StepUsers
from runtime.settings import SettingsError
from runtime.step_limits import StepLimits
from tests.driver_kit import Run, settings, until
from tests.integration.local_lab import alive, argv, skip_where_root_is_unbounded

as_root = pytest.mark.root_only
#: One that every user may start; that of a virtual environment may lie in somebody's home.
PYTHON = "/usr/bin/python3"
pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"{PYTHON} is not installed")
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


def run(*words: str, wanted: dict[str, Any] | None = None, **more: Any) -> tuple[Outcome, Run]:
    """Run one program with these settings."""

    async def inside() -> tuple[Outcome, Run]:
        opened = Resources(settings(**(wanted or {})))
        try:
            attempt = Run(opened, argv(*words, **more))
            return await attempt.outcome(60), attempt
        finally:
            await opened.close()

    return asyncio.run(inside())


def said(*words: str, **more: Any) -> str:
    outcome, _ = run(*words, **more)
    assert isinstance(outcome, Success), outcome
    return str(outcome.output["text"])


def limited(*words: str, limits: StepLimits, **wanted: Any) -> Failure:
    """The failure of a program that exceeds a limit; nothing of it is left."""
    before = set(psutil.pids())
    outcome, attempt = run(*words, wanted={"step_limits": limits, **wanted})
    assert isinstance(outcome, Failure), outcome
    assert outcome.error_class == "limit_exceeded", outcome
    assert not outcome.transient
    mark = attempt.command.execution_id
    for process in psutil.process_iter(["pid", "environ"]):
        if process.pid not in before:
            environ = process.info["environ"] or {}
            given = environ.get("STEP_ATTEMPT", "")
            # It ends with the process that started it: another one may test the same now.
            assert not (mark in given and given.endswith(f":{os.getpid()}")), process
    return outcome


@as_root
def test_a_program_has_a_user_id_of_its_own_and_no_rights() -> None:
    script = "id -u; id -G; grep -E '^(NoNewPrivs|Cap(Prm|Eff|Amb))' /proc/self/status; umask; pwd"
    lines = said("sh", "-c", script).split("\n")
    uid = int(lines[0])
    assert FIRST_UID <= uid < FIRST_UID + UIDS and lines[1] == str(uid)
    status = dict(line.split(":\t") for line in lines[2:6])
    assert status == {"NoNewPrivs": "1", **dict.fromkeys(("CapPrm", "CapEff", "CapAmb"), "0" * 16)}
    assert lines[6] == "0077"
    assert not Path(lines[7]).exists(), "its folder is removed"


@as_root
def test_a_program_cannot_read_what_the_executor_holds(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("canary")
    secret.chmod(0o600)
    reads = (str(secret), f"/proc/{os.getpid()}/environ", f"/proc/{os.getpid()}/maps")
    for path in (*reads, "/etc/shadow"):
        outcome, attempt = run("cat", path)
        assert isinstance(outcome, Failure), path
        assert b"Permission denied" in attempt.output.stderr
    outcome, attempt = run("kill", "-0", str(os.getpid()))
    assert isinstance(outcome, Failure)


@as_root
def test_two_programs_can_neither_read_nor_signal_each_other(open_folder: Path) -> None:
    async def inside() -> tuple[Outcome, Outcome]:
        opened = Resources(settings())
        one = Run(opened, argv("sh", "-c", f"echo $$ > {open_folder}/pid; sleep 600"))
        task = asyncio.create_task(one.outcome())
        await until(
            lambda: bool((open_folder / "pid").exists() and (open_folder / "pid").read_text())
        )
        pid = (open_folder / "pid").read_text().strip()
        try:
            reading = await Run(opened, argv("cat", f"/proc/{pid}/environ")).outcome()
            ending = await Run(opened, argv("kill", "-KILL", pid)).outcome()
            assert alive(int(pid))
        finally:
            task.cancel()
            await asyncio.wait({task})
            await opened.close()
        assert not alive(int(pid))
        return reading, ending

    reading, ending = asyncio.run(inside())
    assert isinstance(reading, Failure) and isinstance(ending, Failure)


@as_root
def test_no_two_programs_of_a_machine_have_one_user_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Of a range that no other test uses.
    monkeypatch.setattr(step_users, "FIRST_UID", FIRST_UID + 4 * UIDS)
    monkeypatch.setattr(step_users, "_LOCKS", tmp_path / "locks")
    monkeypatch.setattr(step_users, "UIDS", 4)
    executors = [StepUsers(settings()), StepUsers(settings())]
    with ExitStack() as held:
        taken = [held.enter_context(executors[n % 2].taken("argv")) for n in range(4)]
        assert len({one.user.uid for one in taken if one.user is not None}) == 4
        for executor in executors:
            with pytest.raises(NoUserLeft), executor.taken("argv"):
                pass
    with executors[0].taken("argv") as one:
        assert one.exclusive


@as_root
def test_the_operator_may_name_an_account_or_tools_that_keep_the_executors_user() -> None:
    skip_where_root_is_unbounded()
    nobody = pwd.getpwnam("nobody")
    script = "id -un; echo $HOME"
    assert said("sh", "-c", script, wanted={"step_user": "nobody"}) == f"nobody\n{nobody.pw_dir}\n"
    assert said("id", "-u", wanted={"step_user": "root"}) == "0\n"
    assert said("id", "-u", wanted={"root_tools": "tcpdump, argv"}) == "0\n"
    with pytest.raises(SettingsError, match="no account no-such-account"):
        Resources(settings(step_user="no-such-account"))
    notice = Resources(settings(step_user="root")).step_users.notice()
    assert notice is not None and "the executor's secrets included" in notice
    assert Resources(settings()).step_users.notice() is None


@as_root
def test_a_program_that_is_not_the_executors_can_reopen_its_streams() -> None:
    script = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr"
    outcome, attempt = run("sh", "-c", script, stdin="typed\n")
    assert isinstance(outcome, Success), outcome
    assert bytes(attempt.output.stdout) == b"typed\nout\n"
    assert bytes(attempt.output.stderr) == b"err\n"


@as_root
def test_a_program_that_its_user_may_not_start_is_looked_for_further(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where the executor's own folders come first in PATH."""
    tmp_path.chmod(0o700)
    (tmp_path / "id").write_text("#!/bin/sh\necho wrong\n")
    (tmp_path / "id").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert int(said("id", "-u")) >= FIRST_UID


def test_a_program_inherits_three_descriptors() -> None:
    # The listing has the descriptor of the folder itself.
    assert said("ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]


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


#: KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING.
_KEYRING = "import ctypes; print(ctypes.CDLL(None).syscall({number}, 0, -3, 0), flush=True)"


@as_root
def test_a_program_does_not_get_the_keys_of_the_executor() -> None:
    number = confinement._KEYCTL
    if number is None:
        pytest.skip("keyctl has another number on this machine")
    script = _KEYRING.format(number=number)
    own = subprocess.run([PYTHON, "-c", script], capture_output=True, check=True).stdout
    if int(own) <= 0:
        pytest.skip("this machine has no keyrings")
    assert int(said(PYTHON, "-I", "-S", "-c", script)) not in (int(own), -1)


@as_root
def test_memory_of_system_v_ends_with_its_step() -> None:
    if shutil.which("ipcmk") is None:
        pytest.skip("ipcmk is not installed")
    before = Path("/proc/sysvipc/shm").read_text()
    assert "Shared memory id" in said("ipcmk", "-M", "1048576")
    assert Path("/proc/sysvipc/shm").read_text() == before


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


def _escaped(open_folder: Path) -> int:
    path = open_folder / "escaped"
    return int(path.read_text()) if path.exists() and path.read_text() else 0


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
