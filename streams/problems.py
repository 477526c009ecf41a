"""Problems: why a request is not followed, one field at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RejectedReason = Literal[
    "invalid", "conflict", "too_large", "not_approved", "approval_expired", "not_authentic",
    "forbidden", "quota",
]  # fmt: skip


@dataclass(slots=True)
class Problem:
    """One reason for a rejection: the field and what to do about it."""

    field: str
    message: str
