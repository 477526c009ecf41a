"""The rolling restart of the demo over three real SSH hosts, each with a real service."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from console.exits import Exit
from tests.harness import Harness
from tests.integration.demo_plans import Runner, errors_of, port_of_all, ran
from tests.integration.test_drivers_ssh import SSHD, running_sshd
from tests.tools.running import until
from tests.tools.test_communication import Inbox, inbox

__all__ = ["inbox"]

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")
ADDRESSES = ["127.0.9.1", "127.0.9.2", "127.0.9.3"]
#: What the three hosts have in the place of a service manager; `APP` is set by their sshd.
RESTART = """#!/bin/sh
set -eu
cd "$APP"
if [ -e pid ]; then kill -9 "$(cat pid)"; fi
setsid @PYTHON@ @APP@ "$(cat address)" "$(cat port)" "$1" "$APP" </dev/null >log 2>&1 &
echo $! >pid
echo "$1" >>restarts
"""


@dataclass
class Balancer:
    """A real server that keeps which hosts get no requests, and the order of the calls."""

    calls: list[str] = field(default_factory=list)
    out: set[str] = field(default_factory=set)
    most_out: int = 0

    @contextmanager
    def serving(self) -> Iterator[str]:
        handler = type("Handler", (_Calls,), {"owner": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()

    def take(self, call: str) -> None:
        what, host = call.strip("/").split("/")
        (self.out.add if what == "drain" else self.out.discard)(host)
        self.most_out = max(self.most_out, len(self.out))
        self.calls.append(f"{what} {host}")


class _Calls(BaseHTTPRequestHandler):
    owner: Balancer

    def do_POST(self) -> None:
        self.owner.take(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written to the terminal of the tests."""


@dataclass
class Hosts:
    """The three hosts: where they answer, and what runs there."""

    ssh_port: int
    port: int
    folder: Path
    restart: Path

    def health(self, address: str) -> dict[str, Any]:
        """Asked of the service itself, whatever the plan says."""
        with urlopen(f"http://{address}:{self.port}/health", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def home(self, address: str) -> Path:
        return self.folder / address


@pytest.fixture
def hosts(stack: tuple[object, Path], tmp_path: Path) -> Iterator[Hosts]:
    """Three SSH servers of one port at three addresses; release 1 runs on each."""
    trust = stack[1].parent / "ssh"
    before = {file.name: file.read_bytes() for file in trust.iterdir()}
    restart = tmp_path / "restart"
    app = Path(__file__).with_name("web_app.py")
    restart.write_text(RESTART.replace("@PYTHON@", sys.executable).replace("@APP@", str(app)))
    restart.chmod(0o755)
    made = Hosts(port_of_all(ADDRESSES), port_of_all(ADDRESSES), tmp_path, restart)
    with ExitStack() as opened:
        opened.callback(_put_back, trust, before)
        opened.callback(_end_services, made)
        known = ""
        for address in ADDRESSES:
            home = made.home(address)
            home.mkdir()
            (home / "address").write_text(address)
            (home / "port").write_text(str(made.port))
            server = opened.enter_context(
                running_sshd(home, f"SetEnv APP={home}", address=address, port=made.ssh_port)
            )
            known += (server.folder / "known_hosts").read_text()
            # Each has a host key of its own; one key opens all three.
            shown = made.home(ADDRESSES[0]) / "client"
            with (home / "authorized").open("a") as authorized:
                authorized.write(shown.with_suffix(".pub").read_text())
            subprocess.run([restart, "1"], env={**os.environ, "APP": str(home)}, check=True)
        (trust / "known_hosts").write_text(known)
        for name in ("client", "client.pub"):
            (trust / name).unlink(missing_ok=True)
            (trust / name).write_bytes((made.home(ADDRESSES[0]) / name).read_bytes())
            (trust / name).chmod(0o600)
        for address in ADDRESSES:
            until(partial(listens_at, address, made.port), f"the service of {address}")
        yield made


def listens_at(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _put_back(trust: Path, before: dict[str, bytes]) -> None:
    for file in trust.iterdir():
        file.unlink()
    for name, content in before.items():
        (trust / name).write_bytes(content)
        (trust / name).chmod(0o600)


def _end_services(hosts: Hosts) -> None:
    for address in ADDRESSES:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((hosts.home(address) / "pid").read_text()), signal.SIGKILL)


def test_one_host_after_the_other_and_a_failure_brings_one_back(
    harness: Harness,
    hosts: Hosts,
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    runner, balancer = Runner(harness, monkeypatch, tmp_path), Balancer()
    first, second, third = ADDRESSES
    old = {address: hosts.health(address)["pid"] for address in ADDRESSES}
    with balancer.serving() as url:
        inputs = {
            "hosts": ADDRESSES, "release": "2", "restart": str(hosts.restart), "port": hosts.port,
            "ssh_port": hosts.ssh_port, "balancer": url, "polls": 5, "tell": ["ops@example.org"],
        }  # fmt: skip
        code, events = runner.run("rolling-restart.yaml", inputs)
        assert code == Exit.OK, errors_of(events)
        found = {address: hosts.health(address) for address in ADDRESSES}
        assert {one["release"] for one in found.values()} == {"2"}
        assert not set(old.values()) & {one["pid"] for one in found.values()}
        in_order = [f"{what} {one}" for one in ADDRESSES for what in ("drain", "undrain")]
        assert (balancer.calls, balancer.most_out, balancer.out) == (in_order, 1, set())
        assert inbox.mails == []

        # Release 3 does not come up on the second host, where all releases are slow to start.
        for name in ("broken-3", "slow"):
            (hosts.home(second) / name).touch()
        balancer.calls.clear()
        code, events = runner.run("rolling-restart.yaml", {**inputs, "release": "3"})
    assert code == Exit.FAILED
    # At once: the plan itself has waited for the old release before it undrained the host.
    after = {address: hosts.health(address) for address in ADDRESSES}
    assert [after[address]["release"] for address in ADDRESSES] == ["3", "2", "2"]
    assert after[third]["pid"] == found[third]["pid"]
    restarts = [(hosts.home(address) / "restarts").read_text().split() for address in ADDRESSES]
    assert restarts == [["1", "2", "3"], ["1", "2", "3", "2"], ["1", "2"]]
    assert balancer.calls == in_order[:4] and balancer.out == set()
    inner = ("drain", "before", "restart", "healthy", "undrain")
    assert ran(events) == [
        *(f"roll[0].{name}" for name in inner), *(f"roll[1].{name}" for name in inner[:-1]),
        "roll[1].restart.undo", "roll[1].before.undo", "roll[1].drain.undo", "tell",
    ]  # fmt: skip
    ((_, mail),) = inbox.mails
    assert (mail["To"], mail["Subject"]) == ("ops@example.org", "rolling restart to 3: failed")
    text = mail.get_body(("plain",)).get_content()
    assert f"roll[1].healthy: {second} is not healthy with release 3" in text
    assert first not in text and third not in text
