"""Programs whose output jc parses; its fields are renamed and converted to our units."""

from __future__ import annotations

import re
from typing import Any, Final

import jc

#: Of `ifconfig` and `lsb_release`, whose longest lines have some 150 characters: the expressions of
#: jc take a time that grows with the square of a line and more.
_LONGEST_LINE: Final = 500
#: The same expressions take a second for so many lines; a thousand interfaces have half of them.
_MOST_LINES: Final = 20_000
#: The headers, and the first three columns in their widths, which the 20 characters that netstat
#: keeps of a program's name have no room for.
_NETSTAT_LINE: Final = re.compile(
    r"Active Internet connections |Proto +Recv-Q +Send-Q |(?:tcp|udp)(?:6|lite|l6)? [ \d]{14,} "
)


def free(stdout: str) -> dict[str, Any]:
    """`free --bytes`: bytes of memory and swap, and the share in use (what is not available)."""
    rows = {row.pop("type").lower(): row for row in _rows("free", stdout)}
    memory, swap = rows["mem"], rows["swap"]
    busy = memory["total"] - memory["available"]
    percent = round(100 * busy / memory["total"], 1) if memory["total"] else 0.0
    return {"memory": memory, "swap": swap, "used_percent": percent}


def ifconfig(stdout: str) -> dict[str, Any]:
    """The interfaces."""
    _bounded(stdout)
    interfaces = _rows("ifconfig", stdout) if stdout.strip() else []
    return {"interfaces": interfaces, "count": len(interfaces)}


def lsb_release(stdout: str) -> dict[str, Any]:
    """The four facts, by their names in snake case."""
    _bounded(stdout)
    (facts,) = _rows("lsb_release", stdout)
    return {name.lower().replace(" ", "_"): value for name, value in facts.items()}


def netstat(stdout: str) -> dict[str, Any]:
    """`netstat --numeric` of net-tools: a socket per line; a UDP socket has no state of its own.

    The rest of a program's name with a line break in it is no socket.
    """
    rows = "\n".join(line for line in stdout.split("\n") if _NETSTAT_LINE.match(line))
    sockets = [_socket(row) for row in _rows("netstat", rows)]
    return {"sockets": sockets, "count": len(sockets)}


def _socket(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocol": row["proto"],
        "state": row.get("state") or "",
        "receive_queue": row["recv_q"],
        "send_queue": row["send_q"],
        "local_address": row["local_address"],
        "local_port": row.get("local_port_num"),
        "peer_address": row["foreign_address"],
        "peer_port": row.get("foreign_port_num"),
        "pid": row.get("pid"),
        "program": row.get("program_name"),
    }


def _bounded(stdout: str) -> None:
    """Refuses what the expressions of jc would take very long for."""
    lines = stdout.splitlines()
    if len(lines) > _MOST_LINES:
        raise ValueError("too many lines")
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise ValueError("a line is too long")


def _rows(parser: str, stdout: str) -> list[dict[str, Any]]:
    found = jc.parse(parser, stdout, quiet=True)
    return [dict(found)] if isinstance(found, dict) else [dict(row) for row in found]
