"""A plan as admitted: ids and canonical tool names filled in, every limit decided.

From here on nothing needs the catalogue or the request: the router runs what stands here, and the
`execution.accepted` event carries it to everybody else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, TypeAdapter


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
    timeout_seconds: float
    lease_seconds: float
    max_attempts: int
    backoff_seconds: float
    max_backoff_seconds: float
    retry_safe: bool
    #: Whether anything in `parameters` is to be replaced before an attempt.
    references: bool = False
    target: tuple[str, ...] = ()
    target_default: str | None = None
    depends_on: tuple[str, ...] = ()
    on_failure: str = "stop"
    description: str | None = None
    when: str | None = None
    for_each: str | list[Any] | None = None
    max_parallel: int | None = None
    assets: list[str] | None = None
    secrets: dict[str, Any] | None = None
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


_DEFAULTS: Final = {
    "references": False, "target": (), "target_default": None, "on_failure": "stop",
    "description": None, "when": None, "for_each": None, "max_parallel": None, "assets": None,
    "secrets": None, "compensate": None,
}  # fmt: skip
_NAMES: Final = tuple(item.name for item in fields(AdmittedStep))
_PLAN: Final = TypeAdapter(AdmittedPlan)


def encode_plan(plan: AdmittedPlan) -> bytes:
    """The plan as JSON, fields with their default values left out."""
    body: dict[str, Any] = {"name": plan.name, "steps": [_sparse(step) for step in plan.steps]}
    if plan.extra:
        body["extra"] = plan.extra
    return orjson.dumps(body)


def decode_plan(raw: bytes | dict[str, Any]) -> AdmittedPlan:
    """The plan that `encode_plan` wrote; raises pydantic.ValidationError."""
    return _PLAN.validate_python(orjson.loads(raw) if isinstance(raw, bytes) else raw)


def _sparse(step: AdmittedStep) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name in _NAMES:
        value = getattr(step, name)
        if name not in _DEFAULTS or value != _DEFAULTS[name]:
            body[name] = _sparse(value) if isinstance(value, AdmittedStep) else value
    return body
