"""Problems: why a request is not followed, one field at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Problem:
    """One reason for a rejection: the field and what to do about it."""

    field: str
    message: str
