"""Wording: times, durations, sizes and counts as people read them; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

#: What stands where nothing is known.
NOTHING: Final = "\N{EN DASH}"

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def duration(seconds: float | None) -> str:
    """As `0.4 s`, `12 s`, `3 min 04 s`, `2 h`, `3 d 04 h`; a dash where it is not known."""
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return f"\N{MINUS SIGN}{duration(-seconds)}"
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _joined(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAY:
        return _joined(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _joined(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _joined(many: int, unit: str, few: int, smaller: str) -> str:
    return f"{many} {unit} {few:02} {smaller}" if few else f"{many} {unit}"


def ago(at: datetime, now: datetime) -> str:
    """How long ago, or how far ahead, in its largest unit; the script of the pages repeats it."""
    seconds = (now - at).total_seconds()
    size = abs(seconds)
    if size < 5:
        return "now"
    if size < _MINUTE:
        text = f"{int(size)} s"
    elif size < _HOUR:
        text = f"{int(size // _MINUTE)} min"
    elif size < _DAY:
        text = f"{int(size // _HOUR)} h"
    else:
        text = f"{int(size // _DAY)} d"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def absolute(at: datetime) -> str:
    """The moment in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: datetime) -> str:
    """The time of day in UTC, to the second."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


def size(count: int | None) -> str:
    """Bytes as `812 B`, `4.2 KB`, `1.0 GB`."""
    if count is None:
        return NOTHING
    amount = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{int(amount)} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def number(count: float) -> str:
    """With thin spaces between the thousands: `12 345`."""
    return f"{count:,.0f}".replace(",", "\u2009")


def counted(count: int, one: str, many: str | None = None) -> str:
    """The number with its noun: `1 step`, `3 steps`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def short(identifier: str) -> str:
    """The first eight characters of an id."""
    return identifier[:8]


def percent(value: float | None) -> str:
    """Whole, and never 100 before it is."""
    return NOTHING if value is None else f"{int(value)} %"
