"""scapy and pyshark, each in its own process, on a capture of one packet."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import dpkt
import pytest

from drivers.readers.program import ENVIRONMENT, reader_argv


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    datagram = dpkt.udp.UDP(sport=5353, dport=53, data=b"x" * 12)
    datagram.ulen = len(datagram)
    packet = dpkt.ip.IP(
        src=b"\xc0\x00\x02\x01", dst=b"\xc0\x00\x02\x02", p=dpkt.ip.IP_PROTO_UDP, data=datagram
    )
    packet.len = len(packet)
    path = tmp_path / "one.pcap"
    with path.open("wb") as file:
        dpkt.pcap.Writer(file).writepkt(dpkt.ethernet.Ethernet(data=packet), ts=1_000_000)
    return path


@pytest.mark.parametrize("library", ["scapy", "pyshark"])
def test_a_capture_is_read(library: str, capture: Path) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install runstream[network]")
    if library == "pyshark" and shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    options = ("--operation=summary", "--limit=5", "--packets=10", "--", str(capture))
    found = subprocess.run(
        reader_argv(library, *options), capture_output=True, text=True, timeout=100, check=False,
        env={**ENVIRONMENT, "PATH": "/usr/bin:/bin:/usr/sbin"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    output = json.loads(found.stdout)
    assert (output["operation"], output["packets"]) == ("summary", 1)
