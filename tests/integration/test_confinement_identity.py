"""As whom a program of a step runs, and what it has and learns of the executor and of others."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from drivers import confinement, step_users
from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from drivers.step_users import FIRST_UID, UIDS, NoUserLeft, StepUsers
from runtime.settings import SettingsError
from tests.driver_kit import Run, settings, until
from tests.integration.confinement_lab import PYTHON, as_root, needs_python, run, said
from tests.integration.local_lab import alive, argv, skip_where_root_is_unbounded

pytestmark = needs_python


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
@pytest.mark.usefixtures("cgroups_alone")
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
