"""Commands: what an operator tells an execution, and what the router tells an executor."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from streams.actors import ANONYMOUS, Actor
from streams.hosts import Become, StepConnection
from streams.locks import Tokens
from streams.on_behalf import MEANING, OnBehalfOf
from streams.plans import StepId
from streams.reports import Attempt
from streams.started import StartedBy
from streams.vocabulary import DEFAULT_PRIORITY, LEAST_URGENT, MOST_URGENT, Environment

_OPEN = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, defer_build=True)


class _Control(BaseModel):
    model_config = _OPEN

    execution_id: str = Field(min_length=36, max_length=36)
    actor: Actor = ANONYMOUS
    reason: str | None = Field(default=None, max_length=1_000)
    schedule: StartedBy | None = Field(
        default=None, description="said by the router only, of what a schedule asks for"
    )
    on_behalf_of: OnBehalfOf | None = Field(default=None, description=MEANING)


class Cancel(_Control):
    """End the execution: nothing new starts, what runs is killed."""

    type: Literal["cancel"] = "cancel"


class Approve(_Control):
    """Approve an execution that waits for it; never by an actor who asked for it."""

    type: Literal["approve"] = "approve"
    plan_hash: str | None = Field(
        default=None,
        max_length=64,
        description="of the plan that was read, from execution.approval_requested; refused without "
        "it, or where the plan has another one",
    )


class Reject(_Control):
    """Refuse an execution that waits for approval."""

    type: Literal["reject"] = "reject"


class Pause(_Control):
    """Dispatch nothing more; attempts that run go on to their end."""

    type: Literal["pause"] = "pause"


class Resume(_Control):
    """Go on after a pause."""

    type: Literal["resume"] = "resume"


class Rerun(_Control):
    """Run what did not succeed again, as a new execution that keeps the earlier outputs."""

    type: Literal["rerun"] = "rerun"
    from_step: StepId | None = None
    new_execution_id: str | None = Field(default=None, description="proposed by the client")


class Resolve(_Control):
    """Say how a step ended whose outcome is unknown (`needs_attention`)."""

    type: Literal["resolve"] = "resolve"
    step: str = Field(min_length=1, max_length=80)
    outcome: Literal["succeeded", "failed", "retry"]
    output: dict[str, Any] | None = None


class Redrive(_Control):
    """Run an exhausted step again: a rerun that starts at this step."""

    type: Literal["redrive"] = "redrive"
    step: str = Field(min_length=1, max_length=80)


AnyCommand = Cancel | Approve | Reject | Pause | Resume | Rerun | Resolve | Redrive
ControlCommand = Annotated[AnyCommand, Field(discriminator="type")]
CONTROL_COMMAND: TypeAdapter[AnyCommand] = TypeAdapter(
    ControlCommand, config=ConfigDict(defer_build=True)
)


class PlanApproval(BaseModel):
    """Who approved the plan of a command."""

    model_config = _OPEN

    level: int = Field(ge=1, le=3, description="how many different people it needed")
    by: tuple[Actor, ...] = Field(max_length=3, description="who gave it; none of them asked")
    definition: str | None = Field(
        max_length=64,
        description="digest of the definition of the tool, as it was when the approval was asked "
        "for; an executor that has another one refuses the command",
    )


class StepCommand(BaseModel):
    """One attempt of one step, for whichever executor of the domain claims it first."""

    model_config = _OPEN

    execution_id: str
    step: str
    attempt: Attempt
    tool: str
    domain: str
    parameters: dict[str, Any]
    tenant: str
    actor: str
    environment: Environment
    priority: int = Field(
        default=DEFAULT_PRIORITY,
        ge=MOST_URGENT,
        le=LEAST_URGENT,
        description="of the plan; of the commands that wait in a lane the smaller one is claimed "
        "first, where it has not come too much later",
    )
    target: str | None = Field(default=None, description="the asset or host that it acts on")
    assets: list[str] | None = None
    fencing_tokens: Tokens | None = Field(
        default=None,
        description="of the locks that this step needs; a lower one than was seen is refused",
    )
    secrets: dict[str, Any] | None = None
    definition: str | None = Field(
        default=None,
        max_length=64,
        description="of a tool of the operator's own: the definition that the plan was admitted "
        "by; an executor with another one refuses the command",
    )
    become: Become | None = Field(
        default=None, description="as whom the program runs on its host; null: as the login"
    )
    connection: StepConnection | None = Field(
        default=None, description="what of the connection to the host the plan says"
    )
    secret_paths: tuple[str, ...] = Field(
        default=(),
        description="JSON pointers into `parameters`: the only places where a reference to a "
        "secret is one",
    )
    plan_hash: str | None = Field(
        default=None, max_length=64, description="of the plan that was approved"
    )
    approval: PlanApproval | None = Field(
        default=None, description="null where the plan needed none"
    )
    timeout_seconds: float = Field(gt=0)
    lease_seconds: float = Field(gt=0)
    dispatched_at: AwareDatetime
    expires_at: AwareDatetime = Field(description="no claim is good after this moment")


class CancelStep(BaseModel):
    """Stop this attempt, or do not start it."""

    model_config = _OPEN

    execution_id: str
    step: str
    attempt: Attempt
    reason: Literal["cancelled", "timed_out", "superseded"]
    grace_seconds: float = Field(default=5.0, ge=0, le=60)
    executor: str | None = Field(
        default=None, description="the instance that is to stop it; null: whichever has it"
    )
    at: AwareDatetime
