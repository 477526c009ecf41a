"""`df --block-size=1 --output=size,…,fstype,source,target`: names last, and cut at their columns.

Whoever may mount chooses a source and a folder with blanks and numbers in them. The numbers stand
before all names; where a name ends, its column says.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

_NUMBERS: Final = re.compile(r"(?: *(?:\d+%?|-) ){8}")
_HEADERS: Final = ("Type ", "Filesystem ", "Mounted on")
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
    header, *rows = stdout.split("\n")
    columns = [header.find(name) for name in _HEADERS]
    if -1 in columns:
        raise ValueError("no header line")
    filesystems = [_row(line, columns) for line in rows if line.strip()]
    single = filesystems[0] if len(filesystems) == 1 else {}
    return {"filesystems": filesystems, "count": len(filesystems), **single}


def _row(line: str, columns: list[int]) -> dict[str, Any]:
    numbers = _NUMBERS.match(line)
    if numbers is None:
        raise ValueError(f"unexpected line {line[:80]!r}")
    kind, source, target = _cut(line, columns)
    values = [None if item == "-" else int(item.rstrip("%")) for item in numbers[0].split()]
    return {
        "filesystem": source.rstrip(" "),
        "type": kind.rstrip(" "),
        **dict(zip(_FIELDS, values, strict=True)),
        "mounted_on": target,
    }


def _cut(line: str, columns: list[int]) -> list[str]:
    """The text of each column; a column begins after so many cells of the terminal."""
    places: list[int] = []
    cells = 0
    for place, character in enumerate(line):
        if len(places) < len(columns) and cells >= columns[len(places)] and _cells(character):
            places.append(place)
        cells += _cells(character)
    if len(places) < len(columns):
        raise ValueError(f"unexpected line {line[:80]!r}")
    ends = [*places[1:], len(line)]
    return [line[begin:end] for begin, end in zip(places, ends, strict=True)]


def _cells(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
