"""Ranges in names of Ansible hosts: `web[01:20].example.org`, `db[a:f]`, `[1:9:2]`; pure."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Final

from console.inventory_model import MAX_HOSTS, BadFile

_RANGE: Final = re.compile(r"\[([A-Za-z]|[0-9]{1,9}):([A-Za-z]|[0-9]{1,9})(?::([0-9]{1,9}))?\]")
_PORT: Final = re.compile(r"(.*[^:]):([0-9]{1,5})")


def split_name(text: str, line: int) -> tuple[list[str], str | None]:
    """The names of a host pattern and the port behind it, if any; raises BadFile."""
    bracketed = re.fullmatch(
        r"\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\](?::([0-9]+))?", text
    )
    if bracketed is not None and _RANGE.fullmatch(text) is None:
        return [bracketed[1]], bracketed[2]
    found = _PORT.fullmatch(text)
    # More colons outside of ranges are an IPv6 address, which has no port behind it.
    if found is not None and ":" not in _RANGE.sub("", found[1]):
        return expand(found[1], line), found[2]
    return expand(text, line), None


def expand(text: str, line: int) -> list[str]:
    """All names of a pattern; raises BadFile where they are too many or the range is none."""
    names = [""]
    position = 0
    for found in _RANGE.finditer(text):
        between = text[position : found.start()]
        values = _values(found, line)
        if len(names) * len(values) > MAX_HOSTS:
            raise BadFile(f"line {line}: {text[:80]!r} is more than {MAX_HOSTS} hosts")
        names = [name + between + value for name in names for value in values]
        position = found.end()
    return [name + text[position:] for name in names]


def _values(found: re.Match[str], line: int) -> Sequence[str]:
    first, last, step = found[1], found[2], int(found[3] or 1)
    whole = found[0]
    if step == 0:
        raise BadFile(f"line {line}: {whole}: the step of a range is at least 1")
    if first.isdigit() and last.isdigit():
        if first.startswith("0") and len(first) > 1 and len(first) != len(last):
            raise BadFile(f"line {line}: {whole}: both ends need the same number of digits")
        numbers = range(int(first), int(last) + 1, step)
        if len(numbers) > MAX_HOSTS:
            raise BadFile(f"line {line}: {whole} is more than {MAX_HOSTS} hosts")
        width = len(first) if first.startswith("0") else 0
        values: Sequence[str] = [str(number).zfill(width) for number in numbers]
    elif first.isalpha() and last.isalpha():
        letters = string.ascii_letters
        values = letters[letters.index(first) : letters.index(last) + 1 : step]
    else:
        raise BadFile(f"line {line}: {whole}: both ends are numbers, or both are letters")
    if not values:
        raise BadFile(f"line {line}: {whole}: the range ends before it begins")
    return values
