"""Each way to fail has a class of its own and the right number of attempts, end to end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.harness import Harness
from tests.sizes import LONG
from tests.tools.conftest import Execute, Result

#: A gigabyte, or in CI enough that an executor which kept it would be seen to grow.
MUCH: Final = 2**30 if LONG else 2**28

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
#: This machine by a name that does not mean "here", so that it is reached by SSH.
ADDRESS = "127.0.0.22"
#: Two attempts, one soon after the other; a class that is not worth it gets one.
TWICE = {"max_attempts": 2, "backoff_seconds": 0.1}


def attempts(result: Result) -> int:
    """How many attempts were started."""
    return sum(event["type"] == "step.started" for event in result.events)


def said(result: Result) -> tuple[str, bool, int]:
    """Class, whether a repetition may help, and how many attempts there were."""
    return result.error_class, bool(result.error.get("transient")), attempts(result)


def test_a_missing_program(execute: Execute) -> None:
    result = execute("argv", {"argv": ["no-such-program-here"]}, retry=TWICE)
    assert (result.status, said(result)) == ("failed", ("program_missing", False, 1))
    assert "no-such-program-here is not installed" in result.error["message"]


def test_a_program_that_fails(execute: Execute) -> None:
    result = execute("argv", {"argv": ["false"]}, retry=TWICE)
    assert said(result) == ("exit_status", False, 1)
    assert result.output["exit_code"] == 1
    gone = execute("cat", {"path": "/no/such/file"}, retry=TWICE)
    assert said(gone) == ("not_found", False, 1)
    assert gone.output["exit_code"] == 1


@pytest.fixture
def client_key(stack: tuple[object, Path]) -> Iterator[None]:
    """The executor has a key to show; without one it would not even try."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("program ssh-keygen is not installed: apt install openssh-client")
    file = stack[1].parent / "ssh" / "client"
    made = not file.exists()
    if made:
        keygen(file)
    yield
    if made:
        file.unlink()
        file.with_suffix(".pub").unlink()


@pytest.mark.usefixtures("client_key")
def test_hosts_that_cannot_be_reached(execute: Execute) -> None:
    unknown = execute("uptime", {"host": "no-such-host.invalid"}, retry=TWICE)
    assert said(unknown) == ("unreachable", True, 2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        refused = execute("webhook_sender", {"url": url, "payload": {}}, retry=TWICE)
    assert said(refused) == ("connection_refused", True, 2)


class Sshd:
    """A real server on port 22 of a loopback address, and what the executor trusts and shows."""

    def __init__(self, folder: Path, trust: Path) -> None:
        self.folder = folder
        self.trust = trust
        self.host_key = keygen(folder / "host")
        self.other_key = keygen(folder / "other")
        (trust / "client").unlink(missing_ok=True)
        self.client_key = keygen(trust / "client")
        self.stranger = keygen(folder / "stranger")

    def knows(self, key: str | None) -> None:
        line = "" if key is None else f"{ADDRESS} {key}\n"
        (self.trust / "known_hosts").write_text(line)

    def admits(self, key: str) -> None:
        (self.folder / "authorized").write_text(f"{key}\n")


def keygen(file: Path) -> str:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)]
    subprocess.run(command, check=True, timeout=20)
    return " ".join(file.with_suffix(".pub").read_text().split()[:2])


def until(condition: Any, seconds: float = 60.0) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def sshd(stack: tuple[object, Path], tmp_path: Path) -> Iterator[Sshd]:
    if SSHD is None:
        pytest.skip("program sshd is not installed: apt install openssh-server")
    with socket.socket() as probe:
        try:
            probe.bind((ADDRESS, 22))
        except OSError as error:
            pytest.skip(f"no server of the test's own can be put at {ADDRESS}:22: {error.strerror}")
    trust = stack[1].parent / "ssh"
    before = {file.name: file.read_bytes() for file in trust.iterdir()}
    server = Sshd(tmp_path, trust)
    (tmp_path / "config").write_text(
        f"Port 22\nListenAddress {ADDRESS}\nHostKey {tmp_path}/host\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path}/authorized\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    log = tmp_path / "log"
    with log.open("wb") as file:
        command = [SSHD, "-D", "-e", "-f", str(tmp_path / "config")]
        process = subprocess.Popen(command, stderr=file, start_new_session=True)
    try:
        until(lambda: b"listening" in log.read_bytes())
        yield server
    finally:
        process.terminate()
        process.wait(10)
        for name in ("known_hosts", "client", "client.pub"):
            (trust / name).unlink(missing_ok=True)
        for name, content in before.items():
            (trust / name).write_bytes(content)
            (trust / name).chmod(0o600)


def test_logins_and_host_keys(execute: Execute, sshd: Sshd) -> None:
    """The same step on the same host, with what the two know of each other changed each time."""

    def again() -> Result:
        return execute("uname", {"host": ADDRESS}, retry=TWICE)

    sshd.knows(sshd.host_key)
    sshd.admits(sshd.client_key)
    good = again()
    assert (good.status, attempts(good)) == ("succeeded", 1), good.error

    sshd.admits(sshd.stranger)
    assert said(again()) == ("login_refused", False, 1)

    sshd.admits(sshd.client_key)
    sshd.knows(sshd.other_key)
    changed = again()
    assert said(changed) == ("host_key_changed", False, 1)

    sshd.knows(None)
    assert said(again()) == ("host_key_unknown", False, 1)

    sshd.knows(sshd.host_key)
    missing = execute("argv", {"argv": ["no-such-program-here"]})
    assert said(missing) == ("program_missing", False, 1)


def test_a_hang_of_ten_seconds(execute: Execute, tmp_path: Path) -> None:
    """Ended after the 2 s of the step; repeated only where a second time does no harm."""
    fifo = tmp_path / "nobody-writes"
    os.mkfifo(fifo)
    begun = time.monotonic()
    reading = execute("cat", {"path": str(fifo)}, retry=TWICE, timeout_seconds=2)
    assert (reading.status, said(reading)) == ("timed_out", ("timed_out", True, 2))
    assert "2 s" in reading.error["message"]

    mark = f"10.{time.time_ns() % 1_000_000}"
    acting = execute("argv", {"argv": ["sleep", mark]}, retry=TWICE, timeout_seconds=2)
    assert (acting.status, said(acting)) == ("timed_out", ("timed_out", False, 1))
    assert time.monotonic() - begun < 60
    # Neither program is left running.
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if {mark, str(fifo)} & set(process.info["cmdline"] or [])
    ]
    assert left == []


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_very_much_output(execute: Execute, harness: Harness) -> None:
    """All of it is read and counted, the beginning and the end kept, and memory does not grow."""
    pid = harness.stack.process("executor-test").pid
    assert pid is not None
    seen = [resident(pid)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            seen.append(resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        script = f"yes runstream | head -c {MUCH}"
        result = execute("argv", {"argv": ["sh", "-c", script]}, timeout_seconds=110)
    finally:
        over.set()
        watcher.join()
    assert result.status == "succeeded", result
    assert result.output["truncated"] is True
    assert result.output["stdout_bytes"] == MUCH
    ended = next(event for event in result.events if event["type"] == "step.succeeded")
    assert ended["data"]["stdout"]["bytes"] == MUCH
    assert len(seen) > 5
    assert max(seen) - seen[0] < 150 * 2**20, f"{seen[0] / 2**20:.0f} -> {max(seen) / 2**20:.0f}"


def resident(pid: int) -> int:
    """Bytes of memory that a process has now (VmRSS)."""
    fields = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in fields if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.usefixtures("client_key")
def test_every_class_here_is_another(execute: Execute) -> None:
    """A class that tells two of these apart only by its message would be of no use to a plan."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        given = {"url": url, "payload": {}, "timeout_seconds": 0.5}
        classes = [
            execute("argv", {"argv": ["no-such-program-here"]}).error_class,
            execute("uptime", {"host": "no-such-host.invalid"}).error_class,
            execute("webhook_sender", given).error_class,
            execute("argv", {"argv": ["false"]}).error_class,
            execute("argv", {"argv": ["sleep", "10"]}, timeout_seconds=1).error_class,
            execute("asset_delete", {"asset_id": 2**40, "confirm": True}).error_class,
        ]
    assert classes == [
        "program_missing", "unreachable", "no_answer", "exit_status", "timed_out", "not_found",
    ]  # fmt: skip
