"""What programs really say at their failure, as the class of the error."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from drivers.captures.sentences import explained
from drivers.context import Failure
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.tools.captures.handmade import Talk, pcap
from tests.tools.netns import need
from tests.tools.running import root
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.invocation import Invocation

_CALL = Invocation(tool="tcpdump", driver="packets", call="tcpdump", arguments={})
_UNPRIVILEGED = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")


def _said(*argv: str) -> str:
    """The class of what the program writes on stderr; it must fail."""
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        argv, capture_output=True, timeout=60, check=False, env=environment,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode != 0, done
    failure = Failure("exit_status", "it failed", transient=False)
    return explained(_CALL, failure, done.stderr or done.stdout).error_class


@pytest.mark.parametrize(
    "argv",
    [
        ("tcpdump", "-i", "lo", "-c1"),
        ("tshark", "-i", "lo", "-c1"),
        ("ngrep", "-d", "lo", "x"),
        ("arp-scan", "--interface=lo", "192.0.2.0/30"),
    ],
)
def test_a_missing_right_is_said(argv: tuple[str, ...]) -> None:
    root()
    need("setpriv", "util-linux")
    need(argv[0])
    assert _said(*_UNPRIVILEGED, *argv) == "capability_missing"


@pytest.mark.parametrize(
    "argv",
    [
        ("tcpdump", "-i", "nosuch0", "-c1"),
        ("tshark", "-i", "nosuch0", "-c1"),
        ("ngrep", "-d", "nosuch0", "x"),
        ("arp-scan", "--interface=nosuch0", "192.0.2.0/30"),
        ("masscan", "--ports=80", "--interface=nosuch0", "192.0.2.1"),
        ("nmap", "-sS", "-e", "nosuch0", "127.0.0.1"),
        ("tshark", "-r", "/nosuch/file"),
    ],
)
def test_what_is_not_there_is_said(argv: tuple[str, ...]) -> None:
    root()
    need(argv[0])
    assert _said(*argv) == "not_found"


@pytest.mark.parametrize(
    "argv",
    [
        ("tcpdump", "-i", "lo", "-c1", "--", "port and and"),
        ("tcpdump", "-i", "lo", "-c1", "--", "host nosuch.invalid"),
        ("tcpdump", "-i", "lo", "-c1", "--", "port nosuchport"),
        ("tcpdump", "-i", "lo", "-c1", "--", "tcp and udp"),
        ("tcpdump", "-i", "lo", "-c1", "--", "Permission denied"),
        ("tshark", "-i", "lo", "-c1", "-f", "port and and"),
        ("ngrep", "-d", "lo", "x", "port and and"),
        ("ngrep", "-d", "lo", "(x"),
        ("arp-scan", "--interface=lo", "192.0.2.0/30"),
        ("masscan", "--ports=80", "--interface=lo", "192.0.2.1"),
    ],
)
def test_what_the_caller_wrote_wrong_is_said(argv: tuple[str, ...]) -> None:
    root()
    need(argv[0])
    assert _said(*argv) == "invalid_parameters"


@pytest.mark.parametrize(
    "words",
    [
        ("-Y", "no such thing"),
        ("-Y", "tcp.port == "),
        ("-Y", 'http.host == "Permission denied"]'),
        ("-Y", "nosuch.field == 1"),
        ("-T", "json", "-e", "nosuch.field"),
    ],
)
def test_a_wrong_display_filter_is_said(words: tuple[str, ...], tmp_path: Path) -> None:
    need("tshark")
    path = tmp_path / "Operation not permitted"
    path.write_bytes(pcap(Talk().open().frames))
    assert _said("tshark", "-r", str(path), *words) == "invalid_parameters"


def test_what_is_no_capture_is_said(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no capture, but long enough to be looked at")
    for program, word in (("tshark", "-r"), ("tcpdump", "-r")):
        need(program)
        assert _said(program, word, str(path)) == "output_unparsable", program


def _class(tool: str, parameters: dict[str, Any]) -> str:
    definition = registry.load().get(tool)
    assert definition is not None
    invocation = bind(definition, parameters)
    assert isinstance(invocation, Invocation), invocation

    async def inside() -> str:
        resources = Resources(settings(allow_private_addresses=True))
        try:
            outcome = await Run(resources, invocation).outcome(60)
        finally:
            await resources.close()
        assert isinstance(outcome, Failure), outcome
        return outcome.error_class

    return asyncio.run(inside())


@pytest.mark.parametrize("tool", ["host", "nslookup", "dig"])
def test_a_name_server_that_is_not_there_is_said(tool: str) -> None:
    need(tool, "bind9-host" if tool == "host" else "bind9-dnsutils")
    asked = {"name": "www.example.org", "server": "127.0.0.1", "timeout": 1}
    assert _class(tool, {**asked, "port": free_port()}) == "connection_refused"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        assert _class(tool, {**asked, "port": silent.getsockname()[1]}) == "no_answer"


@pytest.mark.parametrize("tool", ["ping", "traceroute"])
def test_a_name_that_nobody_has_is_said(tool: str) -> None:
    need(tool, "iputils-ping" if tool == "ping" else tool)
    assert _class(tool, {"target": "nosuch.invalid"}) == "unreachable"
    definition = registry.load().get(tool)
    assert definition is not None
    # On another machine the program itself looks the name up.
    written = subprocess.run(
        [tool, "-n", "--", "nosuch.invalid"], capture_output=True, text=True, timeout=60,
        check=False, env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    words = f"{written.stdout}\n{written.stderr}".strip()
    found = [r.error_class for r in definition.run.failures if re.search(r.text, words)]
    assert found[:1] == ["unreachable"]
