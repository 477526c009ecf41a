"""Programs over SSH for logins of every shell, and where something else runs in their place."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers import ssh_start
from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import PYTHON, Run, until
from tests.integration.ssh_accounts import Account, account
from tests.integration.test_drivers_ssh import (
    SSHD,
    Sshd,
    alive,
    argv,
    attempt,
    cancelled,
    pids_in,
    running_sshd,
    sshd,
)

__all__ = ["sshd"]

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")

#: Login shells, each with the file that it reads for a command over SSH.
SHELLS = {"bash": ".bashrc", "dash": "", "tcsh": ".tcshrc", "fish": ".config/fish/config.fish"}
NOISE = "echo Welcome; echo 'to { this } host'; /bin/sh -c 'echo quota >&2'; /bin/echo -n more\n"
WORDS = (
    "a\nb",
    "it's !1 !!",
    "!$",
    "\\",
    "\\'",
    "$(id)",
    "",
    "ü€😀\x81",
    "*",
    "~",
    "-n",
    '"',
    "\t",
)


@pytest.fixture(params=SHELLS)
def login(request: pytest.FixtureRequest, sshd: Sshd) -> Iterator[Account]:
    """An account whose shell writes much before it runs a command."""
    shell, file = shutil.which(request.param), SHELLS[request.param]
    if shell is None:
        pytest.skip(f"{request.param} is not installed")
    with account(shell, {file: NOISE} if file else None, key=sshd.public_key) as made:
        yield made


@pytest.mark.root_only
def test_every_login_shell(sshd: Sshd, login: Account) -> None:
    show = (
        "import os, sys; print(ascii((sys.argv[1:], os.environ['A'], sys.stdin.read())));"
        "print('own', file=sys.stderr)"
    )
    given: dict[str, Any] = {"env": {"A": "it's !1\n\\ €"}, "stdin": "typed !\n"}
    outcome, run = attempt(
        sshd, argv(sshd, PYTHON, "-c", show, *WORDS, **given), ssh_user=login.name
    )
    assert isinstance(outcome, Success), outcome
    written = ascii((list(WORDS), "it's !1\n\\ €", "typed !\n")) + "\n"
    assert (bytes(run.output.stdout).decode(), outcome.output["text"]) == (written, written)
    assert bytes(run.output.stderr) == b"own\n"


@pytest.mark.root_only
def test_programs_for_administrators(sshd: Sshd, login: Account) -> None:
    """What a user's PATH lacks is there all the same; what is absent is said to be."""
    path = attempt(sshd, argv(sshd, "/bin/sh", "-c", "echo $PATH"), ssh_user=login.name)[0]
    assert path.output["text"].strip().endswith("/usr/sbin:/sbin"), path
    outcome, _ = attempt(sshd, argv(sshd, "useradd", "--help"), ssh_user=login.name)
    assert isinstance(outcome, Success), outcome
    missing, _ = attempt(sshd, argv(sshd, "no-such-program"), ssh_user=login.name)
    assert (missing.error_class, missing.message.count("is not installed on")) == (
        "program_missing", 1
    )  # fmt: skip
    denied, _ = attempt(sshd, argv(sshd, "/etc/passwd"), ssh_user=login.name)
    assert denied.error_class == "capability_missing"


@pytest.mark.root_only
def test_a_cancel_under_every_login_shell(sshd: Sshd, login: Account) -> None:
    folder = login.home / "pids"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    script = f"touch {folder}/$$; sleep 600 & touch {folder}/$!; wait"
    evidence = cancelled(sshd, script, folder, 2, ssh_user=login.name)
    assert "cancel_unconfirmed" not in evidence
    assert set(pids_in(folder)) <= set(evidence["pids_ended"])
    assert not any(alive(pid) for pid in pids_in(folder))


@pytest.mark.root_only
@pytest.mark.parametrize("line", ["exec 2>&1\n", "exec 2>/dev/null\n"], ids=["merged", "swallowed"])
def test_a_login_without_stderr_of_its_own(sshd: Sshd, line: str) -> None:
    with account("/bin/bash", {".bashrc": line}, key=sshd.public_key) as login:
        outcome, run = attempt(sshd, argv(sshd, "echo", "out"), ssh_user=login.name)
    assert isinstance(outcome, Success)
    assert (bytes(run.output.stdout), bytes(run.output.stderr)) == (b"out\n", b"")


@pytest.mark.parametrize(
    "forced",
    ["true", "echo {}", "head -n 1", "internal-sftp", "yes", "yes >&2", "exit 3", "/no"],
)
def test_a_forced_command_is_no_success(forced: str, tmp_path: Path) -> None:
    with running_sshd(tmp_path, f"ForceCommand {forced}") as server:
        secret = {"env": {"A": "canary"}, "stdin": "canary"}
        outcome, run = attempt(server, argv(server, "touch", str(tmp_path / "ran"), **secret), 20)
    assert isinstance(outcome, Failure), outcome
    assert (outcome.error_class, outcome.transient) == ("login_refused", False)
    assert f"{server.host.partition(':')[0]} did not start touch" in outcome.message
    assert "ForceCommand" in outcome.message and "not known" in outcome.message
    assert not (tmp_path / "ran").exists()
    # Whatever runs there gets no secret, and what it wrote is no output.
    assert "canary" not in outcome.message
    assert bytes(run.output.stdout + run.output.stderr) == b""


def test_a_command_of_authorized_keys(tmp_path: Path) -> None:
    with running_sshd(tmp_path) as server:
        key = (tmp_path / "authorized").read_text()
        (tmp_path / "authorized").write_text(f'command="echo backup is done; echo now" {key}')
        outcome, _ = attempt(server, argv(server, "true"))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "login_refused"
    assert outcome.message.endswith("the host wrote: now")


@pytest.mark.root_only
def test_an_account_that_may_not_log_in(sshd: Sshd) -> None:
    shell = shutil.which("nologin", path="/usr/sbin:/sbin")
    assert shell is not None
    with account(shell, key=sshd.public_key) as login:
        outcome, _ = attempt(sshd, argv(sshd, "true"), ssh_user=login.name)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "login_refused"
    assert "currently not available" in outcome.message


def test_a_forced_command_that_runs_what_it_is_given(tmp_path: Path) -> None:
    with running_sshd(tmp_path, 'ForceCommand logger=x; sh -c "$SSH_ORIGINAL_COMMAND"') as server:
        outcome, _ = attempt(server, argv(server, "printf", "%s", "a\nb!"))
    assert outcome == Success({"exit_code": 0, "text": "a\nb!"})


@pytest.mark.parametrize("forced", ["sleep 600", "cat", "tee /dev/stderr"])
def test_a_host_that_never_begins(
    forced: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only gives back what it gets proves nothing either."""
    monkeypatch.setattr(ssh_start, "_READY_SECONDS", 1.5)
    with running_sshd(tmp_path, f"ForceCommand {forced}") as server:
        outcome, run = attempt(server, argv(server, "true"))
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.transient) == ("unreachable", True)
    assert (run.context.stop.ended, run.context.stop.effect) == (True, "none")


def test_a_cancel_before_the_host_begins(tmp_path: Path) -> None:
    with running_sshd(tmp_path, f"ForceCommand touch {tmp_path}/begun; sleep 600") as server:

        async def inside() -> tuple[dict[str, Any], Run]:
            opened = Resources(server.settings())
            try:
                run = Run(opened, argv(server, "true"))
                return await run.cancelled((tmp_path / "begun").exists, 20), run
            finally:
                await opened.close()

        evidence, run = asyncio.run(inside())
    assert evidence == {}
    assert (run.context.stop.ended, run.context.stop.effect) == (True, "none")


def test_a_connection_that_breaks_before_the_host_begins(tmp_path: Path) -> None:
    """Nothing was started, so it may be tried again whatever the tool does."""
    with running_sshd(tmp_path, f"ForceCommand touch {tmp_path}/begun; sleep 600") as server:

        async def inside() -> tuple[Outcome, Run]:
            opened = Resources(server.settings())
            try:
                run = Run(opened, argv(server, "true"))
                task = asyncio.create_task(run.outcome())
                await until((tmp_path / "begun").exists)
                for child in psutil.Process(server.pid).children():
                    child.kill()
                return await task, run
            finally:
                await opened.close()

        outcome, run = asyncio.run(inside())
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.transient) == ("unreachable", True)
    assert (run.context.stop.ended, run.context.stop.effect) == (True, "none")


def test_few_sessions(tmp_path: Path) -> None:
    """A cancel needs a session of its own: over a new connection where this one has no more."""
    folder = tmp_path / "pids"
    folder.mkdir()
    (tmp_path / "one").mkdir()
    with running_sshd(tmp_path / "one", "MaxSessions 1") as server:
        assert isinstance(attempt(server, argv(server, "true"))[0], Success)
        evidence = cancelled(server, f"touch {folder}/$$; sleep 600", folder, 1)
        assert "cancel_unconfirmed" not in evidence
        assert set(pids_in(folder)) <= set(evidence["pids_ended"])
    (tmp_path / "none").mkdir()
    with running_sshd(tmp_path / "none", "MaxSessions 0") as server:
        outcome, _ = attempt(server, argv(server, "true"))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "login_refused"
    assert "refuses to start a program" in outcome.message
