"""What is asked of the servers in the network of the capture tests."""

from __future__ import annotations

import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Callable

from tests.tools.conftest import Result
from tests.tools.netns import Lab

Listen = Callable[..., Result]


def get(lab: Lab, path: str) -> bytes:
    """The body of an answer of the web server, whatever its status."""
    try:
        with urllib.request.urlopen(f"http://{lab.server}{path}", timeout=5) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


def query(lab: Lab, name: str, ident: int, wait: float = 2.0) -> bytes | None:
    """Look a name up; None where no answer comes within `wait` seconds."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    packet = struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0) + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(wait)
        client.sendto(packet, (lab.server, 53))
        try:
            return client.recv(512)
        except TimeoutError:
            return None


def anomalies(result: Result) -> set[str]:
    """The kinds of anomalies that an analyzer found."""
    return {item["kind"] for item in result.output["anomalies"]}
