"""Executors: who serves which steps, and how far behind."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from reading.models.base import Model

Lane = Literal["bulk", "immediate"]


class Assignment(Model):
    """What one executor serves of one topic."""

    domain: str
    lane: Lane
    partitions: list[int]


class ExecutorView(Model):
    """One executor process, as the brokers know it."""

    instance: str = Field(description="as events name it")
    host: str | None
    alive: bool = Field(description="false: it holds attempts, but is in no group any more")
    domains: list[str]
    assignments: list[Assignment]
    running: int = Field(description="attempts that it has claimed and not ended, by the tables")
    oldest_claim_seconds: float | None


class DomainQueue(Model):
    """The commands of one domain and lane that nobody has claimed yet."""

    domain: str
    lane: Lane
    topic: str
    executors: int = Field(description="members of its consumer group")
    lag: int | None = Field(description="records that its group has not taken; null: not known")
    queued: int = Field(description="attempts that are dispatched and not claimed, by the tables")
    running: int
    oldest_queued_seconds: float | None
    problem: str | None = Field(description="such as: nobody serves it, and how to change that")


class ExecutorList(Model):
    """Executors, and the queues that they serve."""

    executors: list[ExecutorView]
    queues: list[DomainQueue]
    as_of: AwareDatetime
    broker_problem: str | None = Field(description="why Kafka could not be asked; null: it was")
