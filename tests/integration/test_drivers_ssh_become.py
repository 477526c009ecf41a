"""`become`: programs over SSH as another user, by a real sudo with rules of the test's account."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers import remote
from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from drivers.secret_config import config_of
from drivers.secret_resolver import Resolver
from tests.driver_kit import PYTHON, Run, command, until
from tests.integration.ssh_accounts import Account, account, sudoers
from tests.integration.test_drivers_ssh import SSHD, Sshd, alive, argv, pids_in, sshd
from tests.secret_kit import secret_file
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

__all__ = ["sshd"]

pytestmark = [
    pytest.mark.skipif(
        SSHD is None or shutil.which("sudo") is None, reason="openssh-server or sudo is missing"
    ),
    pytest.mark.root_only,
]

PASSWORD = "s3 cret!'\"\\ €"
REFERENCE = {"type": "secret", "path": "file/sudo"}
ROOT = {"user": "root", "password": REFERENCE}


@pytest.fixture(scope="module")
def login(sshd: Sshd) -> Iterator[Account]:
    with account("/bin/bash", password=PASSWORD, key=sshd.public_key) as made:
        yield made


def resources(server: Sshd, login: Account, folder: Path, password: str = PASSWORD) -> Resources:
    secret_file(folder, "sudo", password)
    settings = server.settings(ssh_user=login.name, secrets_dir=str(folder))
    return Resources(settings, Resolver(config_of(settings, {})))


def attempt(
    server: Sshd,
    login: Account,
    folder: Path,
    invocation: Invocation,
    become: dict[str, Any],
    password: str = PASSWORD,
) -> tuple[Outcome, Run]:
    async def inside() -> tuple[Outcome, Run]:
        opened = resources(server, login, folder, password)
        try:
            run = Run(opened, invocation, command(become=become, tenant="default"))
            return await run.outcome(40), run
        finally:
            await opened.close()

    return asyncio.run(inside())


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_all_arrives_byte_for_byte(
    sshd: Sshd, login: Account, tmp_path: Path, user: str, pty: str
) -> None:
    show = (
        "import os, sys, pwd; own = pwd.getpwuid(os.getuid()).pw_name;"
        "print(ascii((own, sys.argv[1:], os.environ['A'], sys.stdin.read())));"
        "print('own', file=sys.stderr); sys.exit(7)"
    )
    words = ("a\nb", "it's !1", "", "ü€\x81", "\\", "$(id)")
    stdin = f"{PASSWORD}\nand more !\n" * 1_000
    with sudoers(f"Defaults:{login.name} {pty}\n{login.name} ALL=(ALL) ALL\n"):
        invocation = argv(
            sshd, PYTHON, "-c", show, *words, env={"A": "x\ny !"}, stdin=stdin, success_codes=(7,)
        )
        outcome, run = attempt(sshd, login, tmp_path, invocation, {**ROOT, "user": user})
    assert isinstance(outcome, Success), outcome
    written = ascii((user, list(words), "x\ny !", stdin)) + "\n"
    assert bytes(run.output.stdout).decode() == written
    assert run.context.masker.text(f"it is {PASSWORD}.") == "it is ***."
    # Neither the prompt of sudo nor its lecture.
    assert bytes(run.output.stderr) == b"own\n"


def test_the_password_is_in_no_process(sshd: Sshd, login: Account, tmp_path: Path) -> None:
    script = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    secret = "only-in-this-test-" + os.urandom(8).hex()
    with (
        account("/bin/bash", password=secret, key=sshd.public_key) as own,
        sudoers(f"{own.name} ALL=(ALL) ALL\n"),
    ):
        invocation = argv(sshd, "sh", "-c", script, env={"CANARY": "is-shown"})
        outcome, run = attempt(sshd, own, tmp_path, invocation, ROOT, secret)
    assert isinstance(outcome, Success), outcome
    said = bytes(run.output.stdout).decode("utf-8", "replace")
    assert "CANARY=is-shown" in said and f"--user={'root'}" in said
    assert secret not in said


def test_a_wrong_password_is_tried_once(sshd: Sshd, login: Account, tmp_path: Path) -> None:
    log = tmp_path / "sudo.log"
    rules = f"Defaults:{login.name} logfile={log}, !syslog\n{login.name} ALL=(ALL) ALL\n"
    with sudoers(rules):
        outcome, run = attempt(sshd, login, tmp_path, argv(sshd, "true"), ROOT, "wrong")
        # Sudo writes it once it has seen that nobody answers any more.
        asyncio.run(until(lambda: log.exists() and "incorrect" in log.read_text()))
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.transient) == ("login_refused", False)
    assert outcome.message.endswith("refuses the password")
    assert "1 incorrect password attempt" in " ".join(log.read_text().split())
    assert bytes(run.output.stdout + run.output.stderr) == b""


def test_refusals(
    sshd: Sshd, login: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failure(rules: str, become: dict[str, Any], *words: str, **more: Any) -> tuple[str, str]:
        with sudoers(rules):
            found, _ = attempt(sshd, login, tmp_path, argv(sshd, *words), become, **more)
        assert isinstance(found, Failure), found
        return found.error_class, found.message

    everything = f"{login.name} ALL=(ALL) ALL\n"
    ran = tmp_path / "ran"
    touch = ("touch", str(ran))
    asks, told = failure(everything, {"user": "root"}, *touch)
    assert asks == "login_refused"
    assert "a password is required" in told and "become.password" in told
    nobody, told = failure("", ROOT, *touch)
    assert (nobody, "not in the sudoers file" in told) == ("login_refused", True)
    only, told = failure(f"{login.name} ALL=(ALL) /usr/bin/touch\n", ROOT, *touch)
    assert (only, "not allowed to execute" in told) == ("login_refused", True)
    assert "/bin/sh" in told
    unknown, told = failure(everything, {**ROOT, "user": "no-such-user"}, *touch)
    assert (unknown, "unknown user" in told) == ("login_refused", True)
    lines, told = failure(everything, ROOT, *touch, password="two\nlines")
    assert (lines, "line break" in told) == ("secret_missing", True)
    missing, told = failure(everything, ROOT, "no-such-program")
    assert (missing, "no-such-program is not installed" in told) == ("program_missing", True)
    real = remote.sudo
    monkeypatch.setattr(
        remote, "sudo", lambda *given, **more: ("sudo-that-is-absent", *real(*given, **more)[1:])
    )
    absent, told = failure(everything, ROOT, *touch)
    assert (absent, "sudo-that-is-absent is not installed" in told) == ("program_missing", True)
    assert not ran.exists()


def test_a_tool_of_the_catalogue(sshd: Sshd, login: Account, tmp_path: Path) -> None:
    """What only root may read is read, and not without `become`."""
    hidden = login.home / "hidden"
    hidden.write_text("for root\n")
    hidden.chmod(0o600)
    os.chown(hidden, 0, 0)
    tool = load().get("cat")
    assert tool is not None
    bound = bind(tool, {"host": sshd.host, "path": str(hidden)})
    assert isinstance(bound, Invocation), bound
    with sudoers(f"{login.name} ALL=(ALL) ALL\n"):
        outcome, _ = attempt(sshd, login, tmp_path, bound, ROOT)
        nobody, _ = attempt(sshd, login, tmp_path, bound, {**ROOT, "user": "nobody"})
    assert isinstance(outcome, Success), outcome
    assert "for root" in str(outcome.output)
    assert isinstance(nobody, Failure)


def test_without_a_password(sshd: Sshd, login: Account, tmp_path: Path) -> None:
    """Where sudo asks for none, the program gets all of its stdin and no password."""
    with sudoers(f"{login.name} ALL=(ALL) NOPASSWD: ALL\n"):
        for become in ({"user": "root"}, ROOT):
            invocation = argv(sshd, "sh", "-c", "id -un; cat", stdin="typed\n")
            outcome, _ = attempt(sshd, login, tmp_path, invocation, become)
            assert outcome == Success({"exit_code": 0, "text": "root\ntyped\n"})


def test_ended_by_a_signal(sshd: Sshd, login: Account, tmp_path: Path) -> None:
    with sudoers(f"{login.name} ALL=(ALL) ALL\n"):
        outcome, _ = attempt(sshd, login, tmp_path, argv(sshd, "sh", "-c", "kill -9 $$"), ROOT)
    assert isinstance(outcome, Failure)
    assert outcome.message == "sh was ended by signal 9"


def cancelled(
    server: Sshd, login: Account, folder: Path, become: dict[str, Any], before: Any = None
) -> tuple[dict[str, Any], list[int]]:
    pids = folder / "pids"
    pids.mkdir()
    pids.chmod(0o777)
    script = (
        f"trap '' TERM; touch {pids}/$$; sleep 600 & touch {pids}/$!; "
        f"setsid sleep 600 & touch {pids}/$!; wait; wait"
    )

    async def inside() -> dict[str, Any]:
        opened = resources(server, login, folder)
        try:
            run = Run(
                opened, argv(server, "sh", "-c", script), command(become=become, tenant="default")
            )
            run.context.stop.grace_seconds = 1.0

            def ready() -> bool:
                if len(pids_in(pids)) < 3:
                    return False
                if before is not None:
                    before()
                return True

            return await run.cancelled(ready)
        finally:
            await opened.close()

    return asyncio.run(inside()), pids_in(pids)


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_cancel_ends_what_runs_as_another_user(
    sshd: Sshd, login: Account, user: str, pty: str
) -> None:
    folder = login.home / f"{user}{pty}"
    folder.mkdir()
    login.home.chmod(0o755)
    with sudoers(f"Defaults:{login.name} {pty}\n{login.name} ALL=(ALL) ALL\n"):
        evidence, pids = cancelled(sshd, login, folder, {**ROOT, "user": user})
    assert "cancel_unconfirmed" not in evidence
    assert set(pids) <= set(evidence["pids_ended"])
    assert not any(alive(pid) for pid in pids)


def test_a_cancel_that_sudo_does_not_let_end_it(sshd: Sshd, login: Account) -> None:
    folder = login.home / "kept"
    folder.mkdir()
    with sudoers(f"{login.name} ALL=(ALL) ALL\n") as rules:
        evidence, pids = cancelled(sshd, login, folder, ROOT, rules.unlink)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        # With its leader gone, sudo hangs up on the others.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert "not in the sudoers file" in evidence["cancel_unconfirmed"]
    assert left and psutil.pid_exists(os.getpid())


def test_not_on_the_executors_own_machine(tmp_path: Path) -> None:
    async def inside() -> Outcome:
        from tests.driver_kit import settings

        opened = Resources(settings())
        try:
            invocation = Invocation("argv", "command", argv=("touch", str(tmp_path / "ran")))
            return await Run(opened, invocation, command(become={"user": "root"})).outcome()
        finally:
            await opened.close()

    outcome = asyncio.run(inside())
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "capability_missing"
    assert "localhost:22" in outcome.message and "RUNSTREAM_STEP_USER" in outcome.message
    assert not (tmp_path / "ran").exists()
