"""nmap's XML (`-oX -`), as its DTD describes it; read with entities and external parts refused."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element  # the type only; defusedxml does the parsing

from defusedxml.ElementTree import fromstring


def parse(stdout: str) -> dict[str, Any]:
    """The hosts that are up with their ports, services and, where asked for, operating systems."""
    root = fromstring(stdout)
    if root.tag != "nmaprun":
        raise ValueError("the XML is not nmap's")
    hosts = [_host(item) for item in root.iter("host") if _state(item) != "down"]
    statistics = root.find("runstats/hosts")
    finished = root.find("runstats/finished")
    return {
        "hosts": hosts,
        "count": len(hosts),
        "open_ports": sum(port["state"] == "open" for host in hosts for port in host["ports"]),
        "hosts_up": _number(statistics, "up"),
        "hosts_down": _number(statistics, "down"),
        "elapsed_seconds": None if finished is None else float(finished.get("elapsed", "0")),
        "version": root.get("version"),
    }


def _state(item: Element) -> str:
    status = item.find("status")
    return "unknown" if status is None else status.get("state", "unknown")


def _number(item: Element | None, name: str) -> int:
    return 0 if item is None else int(item.get(name, "0"))


def _host(item: Element) -> dict[str, Any]:
    addresses = {
        address.get("addrtype", ""): address.get("addr") for address in item.findall("address")
    }
    vendor = next((a.get("vendor") for a in item.findall("address") if a.get("vendor")), None)
    times = item.find("times")
    system = next(iter(item.findall("os/osmatch")), None)
    return {
        "address": addresses.get("ipv4") or addresses.get("ipv6"),
        "mac_address": addresses.get("mac"),
        "vendor": vendor,
        "state": _state(item),
        "hostnames": [name.get("name", "") for name in item.findall("hostnames/hostname")],
        "rtt_ms": None if times is None else int(times.get("srtt", "0")) / 1_000,
        "ports": [_port(port) for port in item.findall("ports/port")],
        "other_ports": {
            extra.get("state", ""): int(extra.get("count", "0"))
            for extra in item.findall("ports/extraports")
        },
        "operating_system": None if system is None else system.get("name"),
        "operating_system_accuracy_percent": _number(system, "accuracy")
        if system is not None
        else None,
    }


def _port(item: Element) -> dict[str, Any]:
    state = item.find("state")
    service = item.find("service")
    return {
        "port": int(item.get("portid", "0")),
        "protocol": item.get("protocol", ""),
        "state": "unknown" if state is None else state.get("state", "unknown"),
        "reason": None if state is None else state.get("reason"),
        **{
            field: None if service is None else service.get(name)
            for field, name in (
                ("service", "name"),
                ("product", "product"),
                ("version", "version"),
                ("extra", "extrainfo"),
                ("tunnel", "tunnel"),
            )
        },
    }
