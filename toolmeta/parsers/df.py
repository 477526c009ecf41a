"""`df --output=source,fstype,size,used,avail,pcent,itotal,iused,iavail,ipcent,target -B1`."""

from __future__ import annotations

import re
from typing import Any, Final

_NUMBER: Final = r"(\d+|-)"
_ROW: Final = re.compile(
    # A source may hold spaces; it is taken word by word, so that spaces alone take no time.
    rf"(?P<source>\S++(?:\s++\S++)*?)\s++(?P<fstype>\S++)\s++(?P<numbers>(?:{_NUMBER}\s+){{3}}(?:\d+%|-)\s+"
    rf"(?:{_NUMBER}\s+){{3}}(?:\d+%|-))\s+(?P<target>/.*)"
)
_FIELDS: Final = (
    "size_bytes",
    "used_bytes",
    "available_bytes",
    "use_percent",
    "inodes",
    "inodes_used",
    "inodes_free",
    "inodes_use_percent",
)


def parse(stdout: str) -> dict[str, Any]:
    """The file systems; with a single one, as for a path, its fields are at the top level too."""
    rows = stdout.split("\n")
    if not rows or not rows[0].startswith("Filesystem"):
        raise ValueError("no header line")
    filesystems = [_row(line) for line in rows[1:] if line.strip()]
    single = filesystems[0] if len(filesystems) == 1 else {}
    return {"filesystems": filesystems, "count": len(filesystems), **single}


def _row(line: str) -> dict[str, Any]:
    found = _ROW.fullmatch(line.rstrip())
    if found is None:
        raise ValueError(f"unexpected line {line[:80]!r}")
    numbers = [None if item == "-" else int(item.rstrip("%")) for item in found["numbers"].split()]
    return {
        "filesystem": found["source"],
        "type": found["fstype"],
        **dict(zip(_FIELDS, numbers, strict=True)),
        "mounted_on": found["target"],
    }
