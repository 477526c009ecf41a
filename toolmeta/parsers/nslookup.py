"""`nslookup`: the server and the answers below its own address."""

from __future__ import annotations

import re
from typing import Any, Final

_SERVER: Final = re.compile(r"^Server:\s*(\S+)", re.M)
_PAIR: Final = re.compile(r"^Name:\s*(?P<name>\S+)\nAddress:\s*(?P<address>\S+)", re.M)
_EQUALS: Final = re.compile(r"^(?P<name>\S+)\s+(?P<kind>[\w ]+?) = (?P<data>.+)$", re.M)


def parse(stdout: str) -> dict[str, Any]:
    """The answers; addresses by themselves too."""
    server = _SERVER.search(stdout)
    if server is None and " = " not in stdout:
        raise ValueError("no answer of a server")
    addresses = [found["address"] for found in _PAIR.finditer(stdout)]
    answers: list[dict[str, Any]] = [
        {"name": found["name"], "type": "address", "data": found["address"]}
        for found in _PAIR.finditer(stdout)
    ]
    answers += [
        {"name": found["name"], "type": found["kind"], "data": found["data"].strip()}
        for found in _EQUALS.finditer(stdout)
    ]
    return {
        "server": None if server is None else server[1],
        "answers": answers,
        "count": len(answers),
        "addresses": addresses,
    }
