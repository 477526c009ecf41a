"""Durations as people write them: `90s`, `15m`, `1h30m`, `2d`."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile(
    r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?"
)


def seconds_of(value: str) -> int | None:
    """Seconds of a duration text; None where it is not one. A bare number has no unit: None."""
    found = _DURATION.fullmatch(value)
    if not value or found is None:
        return None
    return sum(
        int(count or 0) * _UNITS[unit] for count, unit in zip(found.groups(), "dhms", strict=True)
    )
