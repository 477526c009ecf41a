"""The progress snapshot: what is known of one execution so far, the latest on a compacted topic."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class SlaProgress(BaseModel):
    """The promise of the SLA class and whether it was broken."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)

    sla_class: str
    deadline: AwareDatetime
    breached: bool


class StepState(BaseModel):
    """One step as the projector sees it."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)

    step: str
    tool: str
    status: str
    attempt: int = 0
    percent: float = Field(ge=0, le=100)
    message: str | None = Field(default=None, description="why it waits, or what it does")


class ProgressSnapshot(BaseModel):
    """Progress of one execution after event number `seq`; a later one replaces it."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)

    execution_id: str
    tenant: str
    name: str | None
    status: str
    seq: int = Field(ge=1)
    percent: float = Field(ge=0, le=100, description="100 only when the execution has ended")
    counts: dict[str, int] = Field(description="steps by status")
    total_steps: int = Field(ge=0)
    steps: list[StepState] = Field(description="the first 200 steps of the plan")
    elapsed_seconds: float = Field(ge=0)
    eta_seconds: float | None = Field(default=None, description="until the end, while it runs")
    eta_error_seconds: float | None = None
    sla: SlaProgress | None = None
    updated_at: AwareDatetime
