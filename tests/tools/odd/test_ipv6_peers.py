"""An IPv6 address wherever a tool takes the address of a peer: it goes to that address.

The truth is a listener at `::1` that sees who comes. It hangs up at once, so that every call fails;
what matters is that the address was taken, and that the program came to it.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure
from tests.tools.captures.handmade import Talk, pcap
from tests.tools.driven import outcomes
from tests.tools.odd import place
from tests.tools.odd.calls import CALLS
from tests.tools.odd.hosts import ipv6
from tests.tools.odd.inputs import over_every
from tests.tools.odd.test_sizes import HTTP
from toolmeta.registry import load

pytestmark = pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6")

#: Where these tools take the address of their peer.
_ENDPOINTS = {
    **{tool: ("endpoint_url", "http://[::1]:{port}") for tool in ("aws", "aws_s3")},
    **{
        tool: ("engine", "tcp://[::1]:{port}") for tool in CALLS if tool.startswith(("dock", "pod"))
    },
    **{tool: ("url", "http://[::1]:{port}") for tool in HTTP},
    **{tool: ("webhook_url", "http://[::1]:{port}") for tool in ("slack_cli", "teams_cli")},
}
#: And these take a server and a port.
_SERVERS = (
    "dig", "host", "mysql", "mysqlcheck", "mysqldump", "nslookup", "openssl", "pg_dump",
    "pg_isready", "redis_cli",
)  # fmt: skip


@dataclass
class Listener:
    """A port of `::1`, by TCP and UDP, and the addresses of those who came."""

    port: int
    came: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listener]:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as tcp,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp,
    ):
        found = Listener(int(tcp.getsockname()[1]))
        udp.bind(("::1", found.port))
        tcp.settimeout(0.1)
        udp.settimeout(0.1)
        over = threading.Event()

        def take(receive: Any) -> None:
            while not over.is_set():
                try:
                    found.came.append(receive())
                except TimeoutError:
                    continue

        def accepted() -> str:
            channel, address = tcp.accept()
            channel.close()
            return str(address[0])

        threads = [
            threading.Thread(target=take, args=(receive,))
            for receive in (accepted, lambda: str(udp.recvfrom(512)[1][0]))
        ]
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            over.set()
            for thread in threads:
                thread.join(10)


def asked(tool: str, port: int, folder: Path) -> dict[str, Any]:
    """The call of the corpus, with this port of `::1` in place of its peer."""
    here = place.Place(folder, port, 9, port)
    call = CALLS[tool].good if tool in CALLS else HTTP[tool]
    parameters: dict[str, Any] = dict(here.filled(call))
    if tool == "openssl":
        parameters = {"action": "connect"}
    if tool in _ENDPOINTS:
        name, address = _ENDPOINTS[tool]
        return {**parameters, name: address.replace("{port}", str(port))}
    return {**parameters, "server": "::1", "port": port}


@over_every([*_ENDPOINTS, *_SERVERS], "IPv6 peer")
def test_the_peer_is_reached(tmp_path: Path, tool: str) -> None:
    definition = load().get(tool)
    assert definition is not None
    if definition.program is not None and shutil.which(definition.program) is None:
        pytest.skip(f"program {definition.program} is not installed")
    (tmp_path / "compose.yaml").write_text('{"version": "2.4", "services": {"a": {"image": "b"}}}')
    tmp_path.chmod(0o755)
    with listening() as listener:
        (outcome,) = outcomes(
            tool,
            asked(tool, listener.port, tmp_path),
            as_root=True,
            allow_private_addresses=True,
            config_folders=(str(tmp_path),),
        )
    assert isinstance(outcome, Failure), outcome
    assert set(listener.came) == {"::1"}, outcome
    assert outcome.error_class not in ("invalid_parameters", "internal"), outcome


_ENDS = ("2001:db8::7", "2001:db8::80")
_FILTERED = [
    tool.name for tool in load().all() if {"capture", "file", "address"} <= set(tool.parameters)
]


@over_every(_FILTERED, "IPv6 peer")
def test_packets_of_an_address_are_those_of_it(tmp_path: Path, tool: str) -> None:
    frames = Talk(*_ENDS).open().say(b"GET /kept HTTP/1.1\r\n\r\n").close().frames
    file = tmp_path / "talk.pcap"
    file.write_bytes(pcap(frames))
    more = {"operation": "summary"} if tool == "dpkt" else {}
    calls = [{**more, "file": str(file), "address": one} for one in (*_ENDS, "2001:db8::9")]
    ended = outcomes(tool, *calls, capture_folders=str(tmp_path), state_dir=str(tmp_path / "s"))
    assert [(one.output or {})["packets"] for one in ended] == [len(frames), len(frames), 0]
