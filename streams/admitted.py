"""A plan as admitted: ids and canonical tool names filled in, every limit decided.

From here on nothing needs the catalogue or the request: the router runs what stands here, and the
`execution.accepted` event carries it to everybody else.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, FiniteFloat, TypeAdapter


@dataclass(slots=True)
class AdmittedStep:
    """One step of an admitted plan, or the compensation of one (which has neither items nor ids).

    Times are seconds. `target` names the parameters that say what the step acts on, aliases
    included, the first that is set counts; `target_default` is used where none is.
    """

    id: str
    tool: str
    domain: str
    parameters: dict[str, Any]
    timeout_seconds: FiniteFloat
    lease_seconds: FiniteFloat
    max_attempts: int
    backoff_seconds: FiniteFloat
    max_backoff_seconds: FiniteFloat
    retry_safe: bool
    #: Whether anything in `parameters` is to be replaced before an attempt.
    references: bool = False
    target: tuple[str, ...] = ()
    target_default: str | None = None
    #: Whether it locks what it acts on, and `assets`: it may change something there.
    locks: bool = False
    depends_on: tuple[str, ...] = ()
    on_failure: str = "stop"
    description: str | None = None
    when: str | None = None
    for_each: str | list[Any] | None = None
    max_parallel: int | None = None
    assets: list[str] | None = None
    secrets: dict[str, Any] | None = None
    #: Where `parameters` hold references to secrets, as JSON pointers: literals of the plan.
    secret_paths: tuple[str, ...] = ()
    #: Names the definition of a tool of the operator's own; null for one of the catalogue.
    definition: str | None = None
    #: `Become` and `StepConnection` of the plan, without what is null there.
    become: dict[str, Any] | None = None
    connection: dict[str, Any] | None = None
    compensate: AdmittedStep | None = None


@dataclass(slots=True)
class AdmittedPlan:
    """The plan of an execution."""

    name: str | None
    steps: tuple[AdmittedStep, ...]
    extra: Annotated[
        dict[str, Any],
        Field(description="fields of the plan that this version does not know, as they were sent"),
    ] = field(default_factory=dict)
    #: The values of its inputs, without secrets; what expressions name as `inputs`.
    inputs: dict[str, Any] = field(default_factory=dict)
    #: The plan as JSON, from its first encoding until whoever needs it last forgets it.
    encoded: bytes | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Nothing is encoded yet."""
        self.encoded = None


_NAMES: Final = tuple(item.name for item in fields(AdmittedStep))
_values_of: Final = attrgetter(*_NAMES)
#: What is left out; readers of the event always find who waits for whom.
_DEFAULT_VALUES: Final = tuple(
    MISSING if item.name == "depends_on" else item.default for item in fields(AdmittedStep)
)
_PLAN: Final = TypeAdapter(AdmittedPlan)


def encode_plan(plan: AdmittedPlan) -> bytes:
    """The plan as JSON, fields with their default values left out."""
    if plan.encoded is None:
        body: dict[str, Any] = {"name": plan.name, "steps": [_sparse(s) for s in plan.steps]}
        if plan.extra:
            body["extra"] = plan.extra
        if plan.inputs:
            body["inputs"] = plan.inputs
        plan.encoded = orjson.dumps(body)
    return plan.encoded


def decode_plan(raw: bytes | dict[str, Any]) -> AdmittedPlan:
    """The plan that `encode_plan` wrote; raises pydantic.ValidationError."""
    return _PLAN.validate_python(orjson.loads(raw) if isinstance(raw, bytes) else raw)


def _sparse(step: AdmittedStep) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name, value, default in zip(_NAMES, _values_of(step), _DEFAULT_VALUES, strict=True):
        if value is not default and value != default:
            body[name] = _sparse(value) if isinstance(value, AdmittedStep) else value
    return body
