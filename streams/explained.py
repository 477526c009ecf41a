"""The payload of `execution.explained`: what would become of a request."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as with_default
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from streams.problems import Problem
from streams.vocabulary import Permission


@dataclass(slots=True)
class ExplainedCall:
    """One call that the plan can make, as far as it is known before the run."""

    field: Annotated[str, Field(description="where it stands, such as plan.steps[0].compensate")]
    tool: str
    action: Annotated[Permission, Field(description="the right that it needs")]
    assets: Annotated[
        list[str | None],
        Field(description="what it acts on; null: only the run will tell"),
    ]
    locks: Annotated[bool, Field(description="whether it changes its assets")]
    approval: Annotated[bool, Field(description="whether it needs an approval by itself")]
    allowed: bool
    rule: Annotated[str, Field(description="the rule of the policy that decided")]
    timeout_seconds: FiniteFloat
    max_attempts: int
    step: Annotated[str | None, Field(description="null for a compensation")] = None
    message: Annotated[str | None, Field(description="why it is not allowed")] = None
    secrets: Annotated[list[str], Field(description="paths, never values")] = with_default(
        default_factory=list
    )
    become: Annotated[
        str | None, Field(description="as whom its program runs on the host; null: as the login")
    ] = None
    connection: Annotated[
        dict[str, Any] | None, Field(description="what the plan says of the way to the host")
    ] = None
    templates: Annotated[
        list[str], Field(description="parameters that the run fills; the others are literals")
    ] = with_default(default_factory=list)
    invocation: Annotated[
        dict[str, Any] | None,
        Field(description="what would be called, secrets masked; null where the run will tell"),
    ] = None


@dataclass(slots=True)
class Explained:
    """What would become of the request; nothing was run, and its key is not remembered."""

    answer: Literal["accepted", "rejected", "duplicate"]
    actor: str
    reason: Annotated[str | None, Field(description="as in execution.rejected")] = None
    message: str | None = None
    problems: list[Problem] = with_default(default_factory=list)
    duplicate_of: str | None = None
    plan_hash: str | None = None
    environment: str | None = None
    sla_class: str | None = None
    mode: str | None = None
    action_class: str | None = None
    priority: int | None = None
    timeout_seconds: FiniteFloat | None = None
    sla_seconds: FiniteFloat | None = None
    approval_level: Annotated[int, Field(description="how many people must approve")] = 0
    approval_seconds: Annotated[
        FiniteFloat | None, Field(description="how long they would have")
    ] = None
    calls: list[ExplainedCall] = with_default(default_factory=list)
    calls_left_out: Annotated[int, Field(description="what a record has no room for")] = 0
