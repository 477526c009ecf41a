"""Reads nmap's XML from stdin with python-nmap and writes JSON: a program of its own.

python-nmap is GPL-3.0, so nothing of the executor imports it. Only its reading of XML is used:
it starts no program here. What it leaves out (round trips, TLS tunnels, the ports that are summed
up, nmap's version) is read from the same XML.
"""

from __future__ import annotations

import json
import sys
from typing import Any

#: Of the XML; as much as the executor keeps of a program's output.
_LARGEST_BYTES = 4 * 1024 * 1024

#: Our names of python-nmap's fields of a port, which are "" where nmap reports none.
_PORT_FIELDS = {
    "service": "name",
    "product": "product",
    "version": "version",
    "extra": "extrainfo",
}


def main() -> int:
    """Write one JSON object; 2 where the text is not the XML of a whole scan."""
    import nmap
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    text = sys.stdin.buffer.read(_LARGEST_BYTES).decode("utf-8", "replace")
    try:
        # Refuses entities and external parts too, which python-nmap would read.
        root = fromstring(text)
        if root.tag != "nmaprun" or root.find("runstats/hosts") is None:
            raise ValueError("not the XML of a whole nmap scan")
        # Without its constructor, which would start nmap to read its version.
        scanner = nmap.PortScanner.__new__(nmap.PortScanner)
        scan = scanner.analyse_nmap_xml_scan(text)
        json.dump(_result(scan, root), sys.stdout)
    except (ParseError, DefusedXmlException, nmap.PortScannerError, ValueError) as error:
        sys.stderr.write(" ".join(str(error).split())[:400])
        return 2
    return 0


def _result(scan: dict[str, Any], root: Any) -> dict[str, Any]:
    elements = {_address(item): item for item in root.iter("host")}
    hosts = [
        _host(host, elements[address])
        for address, host in scan["scan"].items()
        if host["status"]["state"] != "down"
    ]
    statistics = scan["nmap"]["scanstats"]
    return {
        "hosts": hosts,
        "count": len(hosts),
        "open_ports": sum(port["state"] == "open" for host in hosts for port in host["ports"]),
        "hosts_up": int(statistics["uphosts"]),
        "hosts_down": int(statistics["downhosts"]),
        "elapsed_seconds": float(statistics["elapsed"] or 0),
        "version": root.get("version"),
    }


def _address(item: Any) -> str:
    """The address under which python-nmap lists a host: the last IPv4 one, else the first."""
    found = [address.get("addr") for address in item.findall("address[@addrtype='ipv4']")]
    first = item.find("address")
    return str(found[-1] if found else first.get("addr") if first is not None else "")


def _host(host: dict[str, Any], item: Any) -> dict[str, Any]:
    addresses, vendors = host["addresses"], list(host["vendor"].values())
    times = item.find("times")
    system = next(iter(host.get("osmatch", ())), None)
    match = item.find("os/osmatch")
    return {
        "address": addresses.get("ipv4") or addresses.get("ipv6"),
        "mac_address": addresses.get("mac"),
        "vendor": vendors[0] if vendors else None,
        "state": host["status"]["state"],
        "hostnames": [each["name"] for each in host["hostnames"] if each["name"]],
        "rtt_ms": None if times is None else int(times.get("srtt", "0")) / 1_000,
        "ports": [
            _port(port.get("protocol"), int(port.get("portid")), host, port)
            for port in item.findall("ports/port")
        ],
        "other_ports": {
            extra.get("state"): int(extra.get("count", "0"))
            for extra in item.findall("ports/extraports")
        },
        "operating_system": None if system is None else system["name"],
        # python-nmap gives the accuracy of the match's last class in its place.
        "operating_system_accuracy_percent": None
        if match is None
        else int(match.get("accuracy", "0")),
    }


def _port(protocol: str, number: int, host: dict[str, Any], item: Any) -> dict[str, Any]:
    port = host[protocol][number]
    service = item.find("service")
    return {
        "port": number,
        "protocol": protocol,
        "state": port["state"],
        "reason": port["reason"],
        **{field: port[name] or None for field, name in _PORT_FIELDS.items()},
        "tunnel": None if service is None else service.get("tunnel"),
    }


if __name__ == "__main__":
    sys.exit(main())
