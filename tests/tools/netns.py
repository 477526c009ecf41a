"""A network of the test's own: namespaces joined by veth pairs, with real servers inside.

The executor stays in the machine's own namespace, where its broker is; one end of a veth pair is
there too. Addresses are of 198.18.0.0/15, the range for tests of networks (RFC 2544), and between
here and the router also of 2001:db8::/32, the range of examples (RFC 3849).

    here 198.18.N.1 --veth-- 198.18.N.2 router and servers 198.19.N.1 --veth-- 198.19.N.2 far

Names are unique to the run, and everything is deleted at the end. Needs root and iproute2.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import Authority

_SERVERS = Path(__file__).with_name("netservers.py")


@dataclass
class Lab:
    """The network: where its ends are, and how to act inside."""

    here: str
    server: str
    far: str
    device: str
    namespace: str
    server6: str
    folder: Path
    authority: Authority

    def inside(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program beside the servers."""
        return _run("ip", "netns", "exec", self.namespace, *argv)

    @contextmanager
    def traffic(self, once: Callable[[], object], pause: float = 0.2) -> Iterator[None]:
        """Do `once` again and again in a thread until the block ends; its errors fail the test."""
        over = threading.Event()
        failed: list[BaseException] = []

        def loop() -> None:
            while not over.is_set():
                try:
                    once()
                except BaseException as error:  # shown below, in the test's own thread
                    failed.append(error)
                    return
                over.wait(pause)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(30)
        assert not thread.is_alive(), "the traffic does not end"
        if failed:
            raise failed[0]


def need(program: str, package: str | None = None) -> None:
    """Skip, saying why, where a program is not installed."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip(f"program {program} is not installed: apt install {package or program}")


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def _must(*argv: str) -> None:
    done = _run(*argv)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"


@contextmanager
def network(folder: Path) -> Iterator[Lab]:
    """Make the network, or skip saying why it cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    need("ip", "iproute2")
    mark = secrets.token_hex(3)
    router, far = f"rs-{mark}-a", f"rs-{mark}-b"
    # A leftover of another run must not share the network.
    number = secrets.randbelow(250) + 2
    near, inner, up, down = (f"rs{mark}{letter}" for letter in "wxyz")
    ends = {"here": f"198.18.{number}.1", "server": f"198.18.{number}.2"}
    beyond = {"gateway": f"198.19.{number}.1", "far": f"198.19.{number}.2"}
    with ExitStack() as stack:
        for name in (router, far):
            made = _run("ip", "netns", "add", name)
            if made.returncode != 0:
                pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
            stack.callback(_run, "ip", "netns", "del", name)
        stack.callback(_run, "ip", "link", "del", near)
        _must("ip", "link", "add", near, "type", "veth", "peer", "name", inner, "netns", router)
        _must("ip", "addr", "add", f"{ends['here']}/24", "dev", near)
        six = f"2001:db8:{number:x}::"
        _must("ip", "addr", "add", f"{six}1/64", "dev", near, "nodad")
        _must("ip", "link", "set", near, "up")
        inside = ("ip", "-n", router)
        for device in ("lo", inner):
            _must(*inside, "link", "set", device, "up")
        _must(*inside, "addr", "add", f"{ends['server']}/24", "dev", inner)
        _must(*inside, "addr", "add", f"{six}2/64", "dev", inner, "nodad")
        _must(*inside, "link", "add", up, "type", "veth", "peer", "name", down, "netns", far)
        _must(*inside, "addr", "add", f"{beyond['gateway']}/24", "dev", up)
        _must(*inside, "link", "set", up, "up")
        _must("ip", "-n", far, "addr", "add", f"{beyond['far']}/24", "dev", down)
        for device in ("lo", down):
            _must("ip", "-n", far, "link", "set", device, "up")
        _must("ip", "-n", far, "route", "add", "default", "via", beyond["gateway"])
        _must("ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        _must("ip", "route", "add", f"198.19.{number}.0/24", "via", ends["server"])
        authority = Authority(folder)
        _serve(stack, router, ends["server"], f"{six}2", folder, authority)
        yield Lab(
            ends["here"], ends["server"], beyond["far"], near, router, f"{six}2", folder, authority
        )


def _serve(
    stack: ExitStack, namespace: str, address: str, six: str, folder: Path, authority: Authority
) -> None:
    authority.server("www.lab.test")
    (folder / "www.lab.test.pem").rename(folder / "server.pem")
    errors = stack.enter_context((folder / "servers.log").open("w"))
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-P", "-W", "ignore",
         str(_SERVERS), address, str(folder), six],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )  # fmt: skip
    stack.callback(_end, process)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said == "ready\n", (folder / "servers.log").read_text()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)
