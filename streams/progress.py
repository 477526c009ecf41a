"""The progress snapshot: what is known of one execution so far, the latest on a compacted topic.

Fields that were added later are optional: a snapshot of an earlier version is still read. What is
not known, or does not apply, is null or absent.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from streams.waits import WaitReason

_MODEL = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)

#: What ends, or breaks a promise, at a moment that is known before.
LimitName = Literal[
    "sla", "execution_timeout", "finally_timeout", "approval_expiry", "step_timeout",
    "claim_expiry", "lock_wait",
]  # fmt: skip
#: Where an estimate comes from: earlier runs (and what the attempt reports), or this run alone.
EstimateBasis = Literal["history", "extrapolation"]
#: Where the percent of a running step comes from; null where nothing is known, which counts as 0.
PercentSource = Literal["reported", "history"]


class SlaProgress(BaseModel):
    """The promise of the SLA class and whether it was broken."""

    model_config = _MODEL

    sla_class: str
    deadline: AwareDatetime
    breached: bool
    remaining_seconds: float | None = Field(
        default=None, description="until the deadline; negative after it; null once it has ended"
    )
    breach_expected: bool | None = Field(
        default=None, description="the estimated end lies after the deadline; null without estimate"
    )


class WaitState(BaseModel):
    """Why an execution or a step does not go on at present."""

    model_config = _MODEL

    reason: WaitReason
    message: str
    since: AwareDatetime
    until: AwareDatetime | None = Field(
        default=None,
        description="when it goes on by itself (backoff, until) or fails (the others)",
    )


class Limit(BaseModel):
    """A moment at which something ends, or a promise is broken, unless it is over by then."""

    model_config = _MODEL

    limit: LimitName
    remaining_seconds: float = Field(description="at `as_of`; negative where it has passed")
    at: AwareDatetime | None = Field(
        default=None, description="null while its clock stands still: paused, or needs attention"
    )


class StepState(BaseModel):
    """One step as the projector sees it."""

    model_config = _MODEL

    step: str
    tool: str
    status: str
    attempt: int = 0
    percent: float = Field(ge=0, le=100)
    message: str | None = Field(default=None, description="why it waits, or what it does")
    percent_source: PercentSource | None = Field(default=None, description="of a running step")
    target: str | None = Field(default=None, description="what its attempt acts on")
    started_at: AwareDatetime | None = Field(
        default=None, description="when its first attempt was dispatched, or its items began"
    )
    ended_at: AwareDatetime | None = None
    duration_seconds: float | None = Field(
        default=None, description="of an ended step: from its start to its end, waits included"
    )
    waited_seconds: float | None = Field(
        default=None, description="since its start, for every reason together; null where 0"
    )
    held_seconds: float | None = Field(
        default=None,
        description="of these, for what others have: a lock, an executor, the target or a rate",
    )
    children: int = Field(
        default=0, description="the steps within it: the items of `for_each`, or those of a block"
    )
    wait: WaitState | None = None
    eta_seconds: float | None = Field(
        default=None, description="until its end, while it is under way; waits for people aside"
    )
    eta_error_seconds: float | None = None
    limits: list[Limit] = Field(default_factory=list)


class ProgressSnapshot(BaseModel):
    """Progress of one execution after event number `seq`; a later one replaces it."""

    model_config = _MODEL

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
    eta_error_seconds: float | None = Field(
        default=None, description="of three ends, two lie within this much of the estimate"
    )
    sla: SlaProgress | None = None
    updated_at: AwareDatetime = Field(description="of event `seq`")
    as_of: AwareDatetime | None = Field(
        default=None,
        description="when elapsed and remaining times hold; the end, once it has ended",
    )
    procedure: str | None = Field(default=None, description="that was asked for, by its name")
    eta_basis: EstimateBasis | None = None
    wait: WaitState | None = Field(
        default=None, description="of the execution as a whole: for an approval, paused, attention"
    )
    waited_seconds: dict[str, float] = Field(
        default_factory=dict,
        description="so far, by reason, of the execution and all its steps added up",
    )
    limits: list[Limit] = Field(default_factory=list)
