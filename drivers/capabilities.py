"""Whether a program of a step may open raw sockets, checked before it is started.

Source: capabilities(7) and prctl(2). Programs of steps are started with `no_new_privs`, so that
they get nothing from their file: `setcap` on the program has no effect. What root has it keeps over
the start; any other user keeps its ambient set only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NET_RAW: Final = 13


def missing_net_raw(program: str, tool: str) -> str | None:
    """A sentence if `program`, as the executor's own user, may open no raw socket; else None."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None  # Not Linux: the program itself reports it.
    root = os.geteuid() == 0
    if keeps(fields_of(status), NET_RAW, root=root):
        return None
    name = Path(program).name
    return f"{name} needs CAP_NET_RAW; {remedy(['CAP_NET_RAW'], tool, root=root)}"


def keeps(status: Mapping[str, int], number: int, *, root: bool) -> bool:
    """Whether a program that this process starts as its own user has this capability."""
    return bool(status.get("CapEff" if root else "CapAmb", 0) >> number & 1)


def remedy(names: list[str], tool: str, *, root: bool) -> str:
    """What gives programs of the tool these capabilities, as a sentence part."""
    listed = ", ".join(names)
    if root:
        return f"start the executor with {listed} (cap_add of a container)"
    return (
        f"start the executor with {listed} in its ambient set (AmbientCapabilities of systemd), or "
        f"as root with {tool} in RUNSTREAM_ROOT_TOOLS; setcap on the program has no effect"
    )


def fields_of(status: str) -> dict[str, int]:
    """The sets of capabilities in the text of /proc/self/status, by their names there."""
    pairs = (line.partition(":") for line in status.splitlines())
    return {name: int(text, 16) for name, _, text in pairs if name in ("CapEff", "CapAmb")}
