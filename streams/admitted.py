"""A plan as admitted: ids and canonical tool names filled in, every limit decided.

From here on nothing needs the catalogue or the request: the router runs what stands here, and the
`execution.accepted` event carries it to everybody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, FiniteFloat, TypeAdapter

#: In the place of a domain, of a step that the router runs itself: a block or an assertion.
ROUTER_DOMAIN: Final = "router"


@dataclass(slots=True)
class AdmittedStep:
    """One step of an admitted plan, or the compensation of one (which has neither items nor ids).

    Times are seconds. `target` names the parameters that say what the step acts on, aliases
    included, the first that is set counts; `target_default` is used where none is. Of `targets`,
    which list what it acts on too, everything counts.
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
    targets: tuple[str, ...] = ()
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
    #: Items that may fail before no further one starts: a number, or a part such as `25%`.
    max_failures: int | str | None = None
    #: `Check` and `Until` of the plan.
    check: Check | None = None
    until: Until | None = None
    #: Of an assertion (tool `assert`): its conditions, all of which must hold, and its message.
    assertions: tuple[str, ...] = ()
    message: str | None = None
    #: Of a block (tool `block`): its steps, whose ids are the ends of their names in the execution.
    steps: tuple[AdmittedStep, ...] = ()


@dataclass(slots=True)
class AdmittedPlan:
    """The plan of an execution."""

    name: str | None
    steps: tuple[AdmittedStep, ...]
    finally_steps: Annotated[
        tuple[AdmittedStep, ...],
        Field(description="run when the others have ended, in whatever way"),
    ] = ()
    finally_seconds: Annotated[
        FiniteFloat, Field(description="after this time the steps of `finally` are cancelled")
    ] = 0.0
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

    @property
    def size(self) -> int:
        """How many steps it has, those in blocks included."""
        return sum(1 for _ in every_step(self.roots))

    @property
    def roots(self) -> tuple[AdmittedStep, ...]:
        """The steps that are in no block, those of `finally` at the end."""
        return (*self.steps, *self.finally_steps)


@dataclass(slots=True)
class Check:
    """What must hold of a step's output, and whether another attempt may help where it does not."""

    condition: str
    message: str | None = None
    retry: bool = False


@dataclass(slots=True)
class Until:
    """A step is repeated until its output is as wanted, or `limit` attempts have succeeded."""

    condition: str
    interval_seconds: FiniteFloat
    limit: int
    message: str | None = None


def every_step(steps: Iterable[AdmittedStep]) -> Iterator[AdmittedStep]:
    """These steps and those within them, each block before its steps."""
    for step in steps:
        yield step
        if step.steps:
            yield from every_step(step.steps)


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
        if plan.finally_steps:
            body["finally_steps"] = [_sparse(s) for s in plan.finally_steps]
            body["finally_seconds"] = plan.finally_seconds
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
    if step.steps:
        body["steps"] = [_sparse(inner) for inner in step.steps]
    return body
