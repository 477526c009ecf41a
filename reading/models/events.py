"""Events of one execution."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, Field

from reading.models.base import Model


class EventView(Model):
    """One event, with its data as it was written."""

    event_id: str
    seq: int = Field(description="counts from 1 without gaps within its execution")
    type: str
    at: AwareDatetime
    step: str | None
    attempt: int | None
    sentence: str = Field(description="what happened, on one line, for people")
    data: dict[str, Any]


class EventPage(Model):
    """Events in order."""

    execution_id: str
    events: list[EventView]
    last_seq: int = Field(description="the number of the newest event that is stored")
    next: int | None = Field(description="as `after` it gives the next page; null: end")
