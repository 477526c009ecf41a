"""What capturing programs take for an interface is more than a network interface; none is used."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

#: A host to connect to, programs that tshark starts, queues and buses that libpcap reads.
NO_INTERFACES = (
    "TCP@127.0.0.1 randpkt udpdump sdjournal sshdump ciscodump nfqueue nflog nflog:5 "
    "usbmon0 dbus-system dbus-session nothing0"
)
TOOLS: list[tuple[str, str, dict[str, Any]]] = [
    ("tshark", "tshark", {}),
    ("tcpdump", "tcpdump", {}),
    ("ngrep", "ngrep", {"pattern": "x"}),
    ("tcpflow", "tcpflow", {}),
    ("dns_analyzer", "tcpdump", {}),
    ("netdiscover", "netdiscover", {}),
    ("arp_scan", "arp-scan", {"targets": ["127.0.0.1"]}),
    ("masscan", "masscan", {"targets": ["127.0.0.1"], "ports": "80"}),
]
#: Where tshark connects to if `TCP@` names no port.
_TSHARK_PORT = 19_000


@pytest.mark.parametrize(("tool", "program", "more"), TOOLS)
def test_only_network_interfaces_are_listened_to(
    tool: str, program: str, more: dict[str, Any], tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    definition = load().get(tool)
    assert definition is not None
    connected: list[Any] = []

    def taken(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer.get_extra_info("peername"))
        writer.close()

    async def inside() -> list[tuple[str, Outcome]]:
        changed: dict[str, Any] = {"capture_dir": str(tmp_path), "network_scope": "127.0.0.0/8"}
        opened = Resources(settings(**changed))
        server = await asyncio.start_server(taken, "127.0.0.1", _TSHARK_PORT)
        outcomes = []
        try:
            for name in NO_INTERFACES.split():
                invocation = bind(definition, {**more, "interface": name})
                assert isinstance(invocation, Invocation), invocation
                outcomes.append((name, await Run(opened, invocation).outcome()))
        finally:
            server.close()
            await opened.close()
        return outcomes

    for name, outcome in asyncio.run(inside()):
        assert isinstance(outcome, Failure), name
        assert outcome.error_class in ("not_found", "capability_missing"), (name, outcome)
    assert connected == []
