"""Procedures: plans that are kept under a name."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, Field

from reading.models.base import Model


class ProcedureSummary(Model):
    """One procedure in a list."""

    name: str
    version: str
    description: str | None
    environment: str | None
    actor: str = Field(description="who applied it")
    signed: bool = Field(description="whether its record is signed at all")
    digest: str = Field(description="recorded in every execution that runs it")
    steps: int
    inputs: int
    required_inputs: list[str]


class ProcedureList(Model):
    """Procedures by name."""

    procedures: list[ProcedureSummary]
    total: int


class ProcedureInput(Model):
    """One declared input."""

    name: str
    type: str
    description: str | None
    required: bool
    default: Any
    enum: list[Any] | None
    pattern: str | None
    minimum: float | None
    maximum: float | None
    min_length: int | None
    max_length: int | None
    items: str | None
    secret: bool = Field(description="it takes a reference to a secret only")


class VersionUse(Model):
    """A version that was run; the topic itself keeps the one that was applied last."""

    version: str | None
    digest: str | None
    executions: int
    first_at: AwareDatetime
    last_at: AwareDatetime


class ProcedureDetail(ProcedureSummary):
    """One procedure with its plan and inputs."""

    input_list: list[ProcedureInput]
    input_schema: dict[str, Any] = Field(description="JSON Schema 2020-12 of its `inputs`")
    plan: dict[str, Any]
    versions: list[VersionUse] = Field(description="that were run, newest first, at most 20")
