"""The analyses by name, and what a live capture must collect for each; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from drivers.analysis import dns, ftp, http, overview, smtp, ssh, tcp, tls, udp
from drivers.analysis.findings import Options
from drivers.analysis.packets import Packet

Analysis = Callable[[Iterable[Packet], Options], dict[str, Any]]

ANALYSES: Final[dict[str, Analysis]] = {
    "dns": dns.analyse,
    "ftp": ftp.analyse,
    "http": http.analyse,
    "smtp": smtp.analyse,
    "ssh": ssh.analyse,
    "tcp": tcp.analyse,
    "tls": tls.analyse,
    "udp": udp.analyse,
    "summary": overview.summary,
    "conversations": overview.conversations,
    "endpoints": overview.endpoints,
    "ports": overview.ports,
    "packets": overview.listing,
}

_PORTS: Final = {
    "dns": dns.PORTS,
    "ftp": ftp.PORTS,
    "http": http.PORTS,
    "smtp": smtp.PORTS,
    "ssh": ssh.PORTS,
    "tls": tls.PORTS,
}


def capture_filter(name: str, options: Options) -> str:
    """The pcap filter that collects what the analysis reads; made of numbers and addresses."""
    ports = options.ports or _PORTS.get(name)
    listed = " or ".join(f"port {port}" for port in sorted(ports or ()))
    transport = {"dns": "", "udp": "udp"}.get(name, "tcp")
    parts = [f"({transport} and ({listed}))" if transport and listed else f"({listed})"]
    if not listed:
        parts = [f"({transport})"]
    if name == "udp":
        # ICMP errors for closed ports, and the later parts of a fragmented datagram.
        parts = [f"({parts[0]} or icmp or (ip[6:2] & 0x1fff != 0))"]
    if options.address is not None:
        parts.append(f"host {options.address}")
    return " and ".join(parts)
