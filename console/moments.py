"""Moments that an option names."""

from __future__ import annotations

from datetime import datetime

from console.exits import Exit, Failure
from reading import moments


def moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """The moment that an option names, None where it is not given; raises Failure."""
    if text is None:
        return None
    found = moments.moment(text, now)
    if found is None:
        raise Failure(f"{option}: {text!r} is no moment", Exit.USAGE, moments.FORMS)
    return found
