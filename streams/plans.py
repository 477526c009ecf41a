"""What a producer sends: an execution request with its plan.

The models say what is well-formed; whether a plan may run (tools, parameters, cycles, limits) is
the router's admission. Unknown fields are kept, so that a newer producer is not refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from streams.actors import ANONYMOUS, Actor
from streams.hosts import StepConnection, WrittenBecome
from streams.inputs import Inputs
from streams.limits import MAX_EXECUTION_STEPS, MAX_STEPS
from streams.on_behalf import MEANING, OnBehalfOf
from streams.procedures import WrittenVersion
from streams.started import StartedBy
from streams.vocabulary import ActionClass, Environment, Mode, SlaClass, stored_environment

MAX_TIMEOUT_SECONDS: Final = 86_400

#: A name that may stand in a key, a header, a path of a report and a CEL expression.
STEP_ID: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"

#: What a plan may say; the model holds the stored name.
WrittenEnvironment = Annotated[
    Environment,
    BeforeValidator(
        stored_environment,
        json_schema_input_type=Literal["dev", "staging", "prod", "development", "production"],
    ),
]
OnFailure = Literal["stop", "continue", "compensate"]
Seconds = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)]
StepId = Annotated[str, Field(pattern=STEP_ID)]
AssetName = Annotated[str, Field(min_length=1, max_length=253)]
Condition = Annotated[str, Field(min_length=1, max_length=2_000)]
Message = Annotated[str, Field(max_length=2_000)]
#: A number of items, or a part of them such as `25%`.
Failures = (
    Annotated[int, Field(ge=0, le=MAX_EXECUTION_STEPS)]
    | Annotated[str, Field(pattern=r"^(100|[0-9]{1,2})%$")]
)

#: How often `until` may ask, and how deep blocks may nest.
MAX_POLLS: Final = 1_000
MAX_DEPTH: Final = 4

#: The longest expression, with its braces and space around it.
MAX_FOR_EACH: Final = 2_100

#: The fields of a request that are not the plan's; in the bare form they stand beside its steps.
AROUND: Final = (
    *("execution_id", "tenant", "actor", "idempotency_key", "explain", "started_by"),
    "on_behalf_of",
)

_OPEN = ConfigDict(
    extra="allow", allow_inf_nan=False, frozen=True, populate_by_name=True, defer_build=True
)


class RetryPolicy(BaseModel):
    """How often and how fast a failed attempt is tried again; only ever less than the SLA class."""

    model_config = _OPEN

    max_attempts: int = Field(default=5, ge=1, le=5)
    backoff_seconds: float = Field(default=1.0, ge=0, le=3600)
    max_backoff_seconds: float = Field(default=60.0, ge=0, le=3600)


def _one_name(value: Any) -> Any:
    """Refuse what is given under both names: one of the two would be dropped unseen."""
    if isinstance(value, dict) and "parameters" in value and "inputs" in value:
        raise PydanticCustomError(
            "given_twice",
            "it means the same as parameters, which is given too; put everything into parameters",
            {"field": "inputs"},
        )
    return value


class Compensation(BaseModel):
    """The step that undoes another one."""

    model_config = _OPEN
    _one_name = model_validator(mode="before")(_one_name)

    tool: str = Field(min_length=1, max_length=64)
    parameters: dict[str, Any] = Field(
        default_factory=dict, validation_alias=AliasChoices("parameters", "inputs")
    )
    timeout_seconds: Seconds | None = None
    when: str | None = Field(
        default=None,
        max_length=2_000,
        description="CEL condition over the step's own output; without one a step that says "
        "`changed: false` or `created: false` is not undone",
    )


class Check(BaseModel):
    """What must hold of a step's output; a text alone is the condition."""

    model_config = _OPEN

    condition: Condition = Field(description="CEL condition over the step's own `output`")
    message: Message | None = Field(default=None, description="of the error; may hold expressions")
    retry: bool = Field(default=False, description="whether another attempt may help")


class Until(BaseModel):
    """How often a step is repeated until its output is as wanted; a text is the condition."""

    model_config = _OPEN

    condition: Condition = Field(description="CEL condition over the step's own `output`")
    interval_seconds: float = Field(default=5.0, ge=0.1, le=3_600)
    limit: int = Field(default=60, ge=1, le=MAX_POLLS, description="attempts, at most")
    message: Message | None = Field(default=None, description="of the error; may hold expressions")


def _conditioned(value: Any) -> Any:
    return {"condition": value} if isinstance(value, str) else value


WrittenCheck = Annotated[
    Check | None, BeforeValidator(_conditioned, json_schema_input_type=str | Check | None)
]
WrittenUntil = Annotated[
    Until | None, BeforeValidator(_conditioned, json_schema_input_type=str | Until | None)
]


#: For editors and other validators; `Step` itself says it in a sentence.
_ONE_KIND: Final[JsonDict] = {
    "oneOf": [
        {"type": "object", "properties": {name: {}}, "required": [name]}
        for name in ("tool", "assert", "steps")
    ]
}


class AssetItems(BaseModel):
    """Items from the inventory: the host names of the assets that match when the step begins."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, defer_build=True)

    assets: dict[str, Any] = Field(
        description="parameters of `asset_query`, such as tags; the environment is the plan's"
    )
    allow_none: bool = Field(default=False, description="no match gives no items; else it fails")


class Step(BaseModel):
    """One step of a plan: a tool with its parameters, an assertion, or a block of further steps."""

    model_config = ConfigDict(**_OPEN, json_schema_extra=_ONE_KIND)
    _one_name = model_validator(mode="before")(_one_name)

    tool: str = Field(default="", max_length=64, description="canonical name or alias")
    assertion: str | list[Condition] | None = Field(
        default=None,
        validation_alias=AliasChoices("assert", "assertion"),
        description="in place of a tool: CEL conditions that must hold, else the step fails",
    )
    message: Message | None = Field(default=None, description="of an assertion that does not hold")
    steps: list[Step] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_STEPS,
        description="in place of a tool: the steps of a block, run for each item of `for_each`",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        validation_alias=AliasChoices("parameters", "inputs"),
        description="the tool's parameters; `inputs` is accepted too",
    )
    id: StepId | None = Field(default=None, description="unique in the plan; `step_<n>` if absent")
    description: str | None = Field(default=None, max_length=1_000)
    depends_on: list[StepId] | None = Field(default=None, max_length=MAX_STEPS, fail_fast=True)
    when: str | None = Field(default=None, max_length=2_000, description="CEL condition")
    for_each: Annotated[str, Field(max_length=MAX_FOR_EACH)] | list[Any] | AssetItems | None = (
        Field(
            default=None,
            description="a list, a CEL expression or reference that gives one, or assets",
        )
    )
    max_parallel: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    max_failures: Failures | None = Field(
        default=None,
        description="items that may fail before no further one starts and the step fails: a number "
        "or, as 25%, a part of the items",
    )
    check: WrittenCheck = None
    until: WrittenUntil = None
    retry: RetryPolicy | None = None
    timeout_seconds: Seconds | None = None
    on_failure: OnFailure = "stop"
    compensate: Compensation | None = None
    assets: list[AssetName] | None = Field(default=None, max_length=100, fail_fast=True)
    secrets: dict[str, Any] | None = None
    become: WrittenBecome = Field(
        default=None,
        description="as whom the program runs on its host, by sudo; `true` is root",
    )
    connection: StepConnection | None = Field(
        default=None, description="how the host is reached over SSH"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = {"tool": self.tool, "assert": self.assertion, "steps": self.steps}
        given = [name for name, value in kinds.items() if value]
        if not given:
            raise PydanticCustomError("missing", "Field required", {"field": "tool"})
        if len(given) > 1:
            message = f"a step has either {' or '.join(given)}: make a step of each"
            raise PydanticCustomError("two_kinds", message, {"field": given[-1]})
        return self


class Plan(BaseModel):
    """An operations plan: steps in list order, or a graph as soon as one names `depends_on`."""

    model_config = _OPEN

    name: str | None = Field(default=None, max_length=200)
    version: WrittenVersion | None = Field(default=None, description="of a procedure")
    description: str | None = Field(default=None, max_length=2_000)
    steps: list[Step] = Field(min_length=1, max_length=MAX_STEPS)
    finally_steps: list[Step] | None = Field(
        default=None,
        max_length=MAX_STEPS,
        validation_alias=AliasChoices("finally", "finally_steps"),
        description="steps that run when the others have ended, in whatever way",
    )
    type: str | None = Field(default=None, max_length=100)
    environment: WrittenEnvironment = "dev"
    sla_class: SlaClass | None = None
    mode: Mode | None = None
    action_class: ActionClass | None = None
    priority: int | None = Field(default=None, ge=1, le=10, description="1 is the most urgent")
    timeout_seconds: Seconds | None = None
    approval_level: int = Field(default=0, ge=0, le=3, description="0 needs no approval")
    inputs: Inputs | None = Field(
        default=None, description="what a request may, or must, say; `inputs.<name>` in expressions"
    )


class ExecutionRequest(BaseModel):
    """A request to execute a plan; `{"steps": [...]}` alone is a whole request."""

    model_config = _OPEN

    plan: Plan
    inputs: dict[str, Any] | None = Field(
        default=None, description="values of the inputs that the plan declares"
    )
    execution_id: str | None = Field(default=None, description="UUIDv8 carrying the route key")
    tenant: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    actor: Actor = ANONYMOUS
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=256)
    explain: bool = Field(
        default=False,
        description="answer with execution.explained what would become of it, and run nothing",
    )
    started_by: StartedBy | None = Field(
        default=None, description="said by the router only, of what a schedule or trigger started"
    )
    on_behalf_of: OnBehalfOf | None = Field(default=None, description=MEANING)

    @model_validator(mode="before")
    @classmethod
    def _bare_form(cls, value: Any) -> Any:
        if isinstance(value, dict) and "plan" not in value and "steps" in value:
            outer = {name: value[name] for name in AROUND if name in value}
            inner = {name: item for name, item in value.items() if name not in AROUND}
            return {**outer, "plan": inner}
        return value
