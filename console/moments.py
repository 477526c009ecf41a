"""Moments as people write them: `2h`, `3d`, `2026-11-20`, `2026-11-20T07:00`; pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from console.exits import Exit, Failure

_AGO: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """The moment that an option names, None where it is not given; raises Failure.

    Without an offset it is UTC, as everything that Runstream shows.
    """
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise Failure(
            f"{option}: {text!r} is no moment",
            Exit.USAGE,
            "an age such as 90m, 24h, 7d, or a time such as 2026-11-20 or 2026-11-20T07:00 (UTC)",
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
