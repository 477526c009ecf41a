"""Moments as people write them: `2h`, `3d`, `2026-11-20`, `2026-11-20T07:00`; pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: What to write instead.
FORMS: Final = "an age such as 90m, 24h, 7d, or a time such as 2026-11-20 or 2026-11-20T07:00 (UTC)"


def moment(text: str, now: datetime) -> datetime | None:
    """The moment that the text names; None where it names none.

    Without an offset it is UTC, as everything that Runstream shows.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text.strip())
        # Near the first and the last year the same moment has none in UTC.
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
