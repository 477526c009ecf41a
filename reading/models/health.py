"""Health: whether the parts of the system answer, as far as this process can know it."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from reading.models.base import Model

HealthStatus = Literal["healthy", "degraded", "unhealthy", "unknown"]


class ComponentHealth(Model):
    """One part."""

    name: str = Field(description="kafka, postgres, sink, projector, executors/network ...")
    status: HealthStatus
    message: str = Field(description="what is known, and what to do where something is wrong")
    figures: dict[str, float] = Field(description="such as lag, delay_seconds, members")


class SystemHealth(Model):
    """Every part, and the worst status of those that executions depend on."""

    status: HealthStatus
    version: str
    at: AwareDatetime
    components: list[ComponentHealth]
