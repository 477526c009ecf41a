"""Whether a program may open raw sockets, checked before it is started.

Source: capabilities(7). A program has CAP_NET_RAW if the executor has it, or if the file grants it
and nothing removes it again (`no_new_privs`, the bounding set).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_NET_RAW: Final = 1 << 13
#: `struct vfs_cap_data` of linux/capability.h: magic, then permitted and inheritable.
_CAP_DATA: Final = struct.Struct("<III")
_REMEDY: Final = "run the executor with CAP_NET_RAW (or setcap cap_net_raw+ep on the program)"


def missing_net_raw(program: str) -> str | None:
    """A sentence if `program` could not open a raw socket here, else None."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None  # Not Linux: the program itself reports it.
    if may(_fields(status), _granted(program)):
        return None
    return f"{Path(program).name} needs CAP_NET_RAW, which this executor has not; {_REMEDY}"


def may(status: Mapping[str, int], granted: int) -> bool:
    """Whether CAP_NET_RAW is effective after the start, from /proc/self/status and the file."""
    if status.get("CapEff", 0) & _NET_RAW:
        return True
    usable = granted & status.get("CapBnd", 0) if not status.get("NoNewPrivs", 0) else 0
    return bool(usable & _NET_RAW)


def _fields(status: str) -> dict[str, int]:
    pairs = (line.partition(":") for line in status.splitlines())
    return {
        name: int(text.strip(), 16)
        for name, _, text in pairs
        if name in ("CapEff", "CapBnd", "NoNewPrivs")
    }


def _granted(program: str) -> int:
    try:
        data = os.getxattr(program, "security.capability")
    except OSError:
        return 0
    return int(_CAP_DATA.unpack_from(data)[1]) if len(data) >= _CAP_DATA.size else 0
