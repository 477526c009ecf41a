"""Programs over SSH, against a real OpenSSH server on a loopback port with keys of its own."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from devstack.ports import free_port
from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, block_until_over, settings, until
from toolmeta.invocation import Invocation

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")


@dataclass
class Sshd:
    """A running server and what a client needs to know of it."""

    port: int
    folder: Path
    pid: int
    address: str = "127.0.0.1"

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def public_key(self) -> str:
        return (self.folder / "client.pub").read_text().strip()

    def settings(self, **changed: Any) -> Any:
        fields = {
            "ssh_known_hosts": str(self.folder / "known_hosts"),
            "ssh_key_file": str(self.folder / "client"),
            "ssh_user": getpass.getuser(),
        }
        return settings(**{**fields, **changed})


def keygen(file: Path) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True, timeout=20
    )
    return " ".join(file.with_suffix(".pub").read_text().split()[:2])


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@contextmanager
def running_sshd(
    folder: Path, *configured: str, address: str = "127.0.0.1", port: int | None = None
) -> Iterator[Sshd]:
    """A server with its keys in the folder; `configured` are further lines of its configuration."""
    port = port or free_port()
    host_key = keygen(folder / "host")
    (folder / "authorized").write_text(keygen(folder / "client") + "\n")
    keygen(folder / "stranger")
    (folder / "known_hosts").write_text(f"[{address}]:{port} {host_key}\n")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress {address}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized .ssh/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        + "".join(f"{line}\n" for line in configured)
    )
    # Where the server keeps what it gives up its rights in; Debian makes it at boot.
    Path("/run/sshd").mkdir(exist_ok=True)
    assert SSHD is not None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log, start_new_session=True
        )
    try:
        asyncio.run(until(lambda: b"listening" in (folder / "log").read_bytes()))
        yield Sshd(port, folder, process.pid, address)
    finally:
        process.terminate()
        process.wait(10)


def attempt(server: Sshd, invocation: Invocation, seconds: float = 30, **changed: Any) -> Any:
    async def inside() -> tuple[Outcome, Run]:
        opened = Resources(server.settings(**changed))
        try:
            run = Run(opened, invocation)
            return await run.outcome(seconds), run
        finally:
            await opened.close()

    return asyncio.run(inside())


def argv(server: Sshd, *words: str, **more: Any) -> Invocation:
    return Invocation("argv", "command", argv=words, **{"host": server.host, **more})


def test_output_exit_code_and_stdin(sshd: Sshd) -> None:
    script = "cat; echo err >&2; exit 3"
    outcome, run = attempt(sshd, argv(sshd, "sh", "-c", script, stdin="typed\n"))
    assert isinstance(outcome, Failure)
    assert outcome.message == "sh ended with exit code 3: err"
    assert outcome.output == {"exit_code": 3, "text": "typed\n"}
    assert bytes(run.output.stderr) == b"err\n"


@pytest.mark.parametrize(
    "word",
    ["; id", "$(id)", "`id`", "a\nb", "'", '"', "-oProxyCommand=x", "", "*", "$HOME", "\u2013x"],
)
def test_arguments_arrive_as_they_are(sshd: Sshd, word: str) -> None:
    outcome, run = attempt(sshd, argv(sshd, "printf", "%s", word))
    assert isinstance(outcome, Success)
    assert bytes(run.output.stdout).decode() == word


def test_environment_travels_unseen(sshd: Sshd) -> None:
    script = 'echo "$SECRET"; cat /proc/$$/cmdline /proc/$PPID/cmdline | tr "\\0" " "'
    invocation = argv(sshd, "sh", "-c", script, env={"SECRET": "it's a canary"})
    outcome, _ = attempt(sshd, invocation)
    assert isinstance(outcome, Success)
    assert outcome.output["text"].startswith("it's a canary\n")
    assert outcome.output["text"].count("canary") == 1


def test_a_line_break_cannot_set_another_variable(sshd: Sshd) -> None:
    show = 'printf %s "$A"; echo "|$B|"'
    outcome, _ = attempt(sshd, argv(sshd, "sh", "-c", show, env={"A": "x\nB=y"}))
    assert isinstance(outcome, Success)
    assert outcome.output["text"] == "x\nB=y||\n"


def test_missing_program(sshd: Sshd) -> None:
    outcome, _ = attempt(sshd, argv(sshd, "no-such-program-here"))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "program_missing"
    assert outcome.message.startswith("the program no-such-program-here is not installed on 127")


def test_ended_by_a_signal(sshd: Sshd) -> None:
    outcome, _ = attempt(sshd, argv(sshd, "sh", "-c", "kill -9 $$"))
    assert isinstance(outcome, Failure)
    assert outcome.message == "sh was ended by signal 9"


def test_ways_not_to_get_in(sshd: Sshd, tmp_path: Path) -> None:
    run = argv(sshd, "true")
    absent = str(tmp_path / "absent")
    changed = tmp_path / "changed"
    changed.write_text(f"[127.0.0.1]:{sshd.port} {keygen(tmp_path / 'other')}\n")
    kind = tmp_path / "kind"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(tmp_path / "rsa")], check=True
    )
    rsa = " ".join((tmp_path / "rsa.pub").read_text().split()[:2])
    kind.write_text(f"[127.0.0.1]:{sshd.port} {rsa}\n")
    found = {
        "unknown": attempt(sshd, run, ssh_known_hosts=absent)[0],
        "changed": attempt(sshd, run, ssh_known_hosts=str(changed))[0],
        "other kind": attempt(sshd, run, ssh_known_hosts=str(kind))[0],
        "stranger": attempt(sshd, run, ssh_key_file=str(sshd.folder / "stranger"))[0],
        "no key": attempt(sshd, run, ssh_key_file=absent)[0],
        "refused": attempt(sshd, argv(sshd, "true", host=f"127.0.0.1:{free_port()}"))[0],
        "no name": attempt(sshd, argv(sshd, "true", host="no-such-host.invalid"))[0],
    }
    assert {name: (one.error_class, one.transient) for name, one in found.items()} == {
        "unknown": ("host_key_unknown", False),
        "changed": ("host_key_changed", False),
        "other kind": ("host_key_changed", False),
        "stranger": ("login_refused", False),
        "no key": ("not_configured", False),
        "refused": ("connection_refused", True),
        "no name": ("unreachable", True),
    }


def test_a_host_that_never_greets(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Resources.ssh_options
    monkeypatch.setattr(
        Resources,
        "ssh_options",
        lambda self: {**real(self), "connect_timeout": 0.5, "login_timeout": 0.5},
    )
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        outcome, _ = attempt(sshd, argv(sshd, "true", host=host), 10)
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.transient) == ("unreachable", True)


def test_much_output_arrives_whole(sshd: Sshd) -> None:
    outcome, run = attempt(sshd, argv(sshd, "head", "-c", "20M", "/dev/zero"), 60)
    assert isinstance(outcome, Success)
    assert len(run.output.stdout) == 20 * 2**20
    assert outcome.output["truncated"] is True


def cancelled(
    server: Sshd,
    script: str,
    folder: Path,
    count: int,
    before_cancel: Any = None,
    grace: float = 2.0,
    **changed: Any,
) -> Any:
    async def inside() -> dict[str, Any]:
        opened = Resources(server.settings(**changed))
        try:
            run = Run(opened, argv(server, "sh", "-c", script))
            run.context.stop.grace_seconds = grace

            def ready() -> bool:
                if len(pids_in(folder)) < count:
                    return False
                if before_cancel is not None:
                    before_cancel()
                return True

            return await run.cancelled(ready)
        finally:
            await opened.close()

    return asyncio.run(inside())


def pids_in(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_cancel_ends_the_remote_tree(sshd: Sshd, tmp_path: Path) -> None:
    script = (
        f"touch {tmp_path}/$$; sleep 600 & touch {tmp_path}/$!; "
        f"setsid sleep 600 & touch {tmp_path}/$!; sleep 600"
    )
    evidence = cancelled(sshd, script, tmp_path, 3)
    assert set(pids_in(tmp_path)) <= set(evidence["pids_ended"])
    assert "cancel_unconfirmed" not in evidence
    assert not any(alive(pid) for pid in evidence["pids_ended"])


def test_cancel_kills_what_ignores_sigterm(sshd: Sshd, tmp_path: Path) -> None:
    script = f"trap '' TERM; touch {tmp_path}/$$; while :; do sleep 1; done"
    evidence = cancelled(sshd, script, tmp_path, 1)
    assert "cancel_unconfirmed" not in evidence
    assert not alive(pids_in(tmp_path)[0])


def test_a_program_that_ended_before_the_cancel_has_its_own_end(sshd: Sshd, tmp_path: Path) -> None:
    """The executor was frozen: the program's end and the cancel meet it together."""

    async def inside() -> tuple[Outcome, dict[str, Any]]:
        opened = Resources(sshd.settings())
        try:
            script = f"touch {tmp_path}/$$; sleep 0.3; echo done; touch {tmp_path}/ended"
            run = Run(opened, argv(sshd, "sh", "-c", script))
            task = asyncio.create_task(run.outcome())
            await until(lambda: len(pids_in(tmp_path)) == 1)
            block_until_over(pids_in(tmp_path)[0])
            run.cancel(task)
            return await task, run.context.evidence
        finally:
            await opened.close()

    outcome, evidence = asyncio.run(inside())
    assert outcome == Success({"exit_code": 0, "text": "done\n"})
    assert evidence == {}


def test_a_cancel_at_every_early_moment_leaves_nothing(sshd: Sshd, tmp_path: Path) -> None:
    async def inside() -> None:
        opened = Resources(sshd.settings())
        try:
            for number in range(12):
                run = Run(opened, argv(sshd, "sh", "-c", f"touch {tmp_path}/$$; exec sleep 600"))
                task = asyncio.create_task(run.outcome())
                await asyncio.sleep(number * 0.02)
                run.cancel(task)
                await asyncio.wait({task})
                assert task.cancelled()
                if run.context.stop.effect == "none":
                    assert run.context.stop.ended
                else:
                    assert run.context.evidence["pids_ended"], run.context.evidence
        finally:
            await opened.close()

    asyncio.run(inside())
    assert not [pid for pid in pids_in(tmp_path) if alive(pid)]


def test_a_connection_that_breaks_while_acting(sshd: Sshd, tmp_path: Path) -> None:
    script = f"touch {tmp_path}/$$; exec sleep 600"

    async def inside() -> dict[str, Any]:
        opened = Resources(sshd.settings())
        try:
            run = Run(opened, argv(sshd, "sh", "-c", script))
            task = asyncio.create_task(run.outcome())
            await until(lambda: len(pids_in(tmp_path)) == 1)
            pid = pids_in(tmp_path)[0]
            parent = psutil.Process(pid).parent()
            assert parent is not None
            parent.kill()
            outcome = await task
            assert isinstance(outcome, Failure)
            assert outcome.error_class == "connection_lost"
            assert not outcome.transient
            return {"pid": pid}
        finally:
            await opened.close()

    pid = asyncio.run(inside())["pid"]
    if alive(pid):
        os.kill(pid, signal.SIGKILL)


def test_a_cancel_that_cannot_be_confirmed_says_so(sshd: Sshd, tmp_path: Path) -> None:
    import drivers.ssh as driver

    stopped: list[psutil.Process] = []

    def freeze() -> None:
        server = psutil.Process(sshd.pid)
        for process in [*server.children(recursive=True), server]:
            process.send_signal(signal.SIGSTOP)
            stopped.append(process)

    patch = pytest.MonkeyPatch()
    patch.setattr(driver, "_CONFIRM_SECONDS", 1.0)
    try:
        evidence = cancelled(sshd, f"touch {tmp_path}/$$; sleep 600", tmp_path, 1, freeze, 0.5)
    finally:
        patch.undo()
        for process in stopped:
            if process.is_running():
                process.send_signal(signal.SIGCONT)
        for pid in pids_in(tmp_path):
            if alive(pid):
                os.killpg(pid, signal.SIGKILL)
    assert "did not answer" in evidence["cancel_unconfirmed"]
