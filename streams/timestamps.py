"""Timestamps on the wire: RFC 3339 text in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field


@lru_cache(maxsize=64)
def iso(unix_seconds: float) -> str:
    """Unix seconds as text, such as `2026-11-20T07:00:00.123Z`."""
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(text: str) -> float:
    """Text as Unix seconds; raises ValueError where it is no timestamp."""
    return datetime.fromisoformat(text).timestamp()


def _checked(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a timestamp needs an offset from UTC, such as Z")
    return text


#: RFC 3339 text with an offset.
Timestamp = Annotated[
    str, AfterValidator(_checked), Field(json_schema_extra={"format": "date-time"}, max_length=64)
]
