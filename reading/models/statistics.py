"""Figures about many executions: rates, durations, queue times, and promises kept."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from reading.models.base import Model

By = Literal["tool", "procedure"]


class Figures(Model):
    """Of what ended in a range: attempts of a tool, or executions."""

    name: str | None = Field(description="null: all together, or plans without a name")
    count: int
    succeeded: int
    success_rate: float | None = Field(ge=0, le=1, description="null where nothing ended")
    avg_seconds: float | None
    min_seconds: float | None
    max_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    avg_queue_seconds: float | None = Field(description="from dispatch or admission to the start")
    max_queue_seconds: float | None
    late: int | None = Field(description="of executions: longer than the class promises")
    sla_compliance: float | None = Field(ge=0, le=1, description="of executions")


class Point(Model):
    """One span of a series; what ended from `begin` up to `end`."""

    begin: AwareDatetime
    end: AwareDatetime
    ended: int
    completed: int
    failed: int = Field(description="failed, partial or timed out")
    other: int = Field(description="cancelled")
    late: int
    success_rate: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    avg_queue_seconds: float | None


class Now(Model):
    """What is under way at this moment."""

    at: AwareDatetime
    active: dict[str, int] = Field(description="executions that have not ended, by status")
    late: int = Field(description="of them, those beyond what their class promises")
    queued_attempts: int = Field(description="dispatched, and claimed by no executor yet")
    running_attempts: int
    oldest_queued_seconds: float | None = Field(description="how long the oldest one waits")


class Statistics(Model):
    """Figures of a range, as a whole, by tool, by procedure, and as a series."""

    since: AwareDatetime
    until: AwareDatetime
    now: Now
    executions: Figures
    tools: list[Figures] = Field(description="attempts by tool, the most frequent first")
    procedures: list[Figures] = Field(description="executions by procedure or name of the plan")
    series: list[Point] = Field(description="oldest first, without gaps")
