"""Decoding requests: from bytes to a request, a clear refusal, or a dead letter.

Bytes that are no JSON object belong in the dead-letter topic, unchanged. Everything
that is JSON but no valid request is a rejection, with one sentence per fault that names its field.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

import orjson
from pydantic import ValidationError

from processors.router.decoding import Undecodable, is_suspicious, unstorable
from streams.actors import ACTOR, ANONYMOUS
from streams.limits import MAX_REQUEST_BYTES
from streams.plans import AROUND, ExecutionRequest
from toolmeta.invocation import Problem

MAX_PROBLEMS: Final = 20
_SENDER_LIMITS: Final = {
    "tenant": 63, "actor": 128, "execution_id": 36, "idempotency_key": 256, "name": 200,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Invalid:
    """A request that can be read but not followed."""

    problems: list[Problem]
    reason: Literal["invalid", "too_large"] = "invalid"
    tenant: str = "default"
    actor: str = ANONYMOUS
    execution_id: str | None = None
    idempotency_key: str | None = None
    #: The name of the plan, where there is one.
    name: str | None = None
    #: The request asks only what would become of it.
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Readable:
    """A well-formed request, the plan as the producer wrote it, and the hash of that plan."""

    request: ExecutionRequest
    plan: dict[str, Any] = field(repr=False)
    plan_hash: str


def decode_request(value: bytes | None) -> Readable | Invalid | Undecodable:
    """Read one record of `execution.requests`; never raises."""
    if not value:
        return Undecodable("empty", "the record has no value")
    if len(value) > MAX_REQUEST_BYTES:
        problem = Problem(
            "plan", f"the request has {len(value)} bytes; at most {MAX_REQUEST_BYTES} are allowed"
        )
        # What is far too large is not parsed only to name its sender.
        sender = _sender(value) if len(value) <= 4 * MAX_REQUEST_BYTES else {}
        return Invalid([problem], reason="too_large", **sender)
    try:
        request = ExecutionRequest.model_validate_json(value)
    except ValidationError as error:
        return _unreadable(value, error)
    if is_suspicious(value, nul=False):
        given = request.plan.model_dump(exclude_unset=True)
        problems = list(islice(unstorable(given, "plan"), MAX_PROBLEMS))
        if problems:
            return Invalid(problems, **_sender_of(request))
    try:
        plan = _as_written(orjson.loads(value))
        canonical = _canonical(plan, request.plan.environment)
    except (orjson.JSONDecodeError, TypeError) as error:
        return Invalid([Problem("plan", f"it is not plain JSON: {error}")], **_sender_of(request))
    return Readable(request, plan, hashlib.sha256(canonical).hexdigest())


def _as_written(body: dict[str, Any]) -> dict[str, Any]:
    """The plan as the producer wrote it, whether it stands alone or in a request."""
    if "plan" in body:
        plan: dict[str, Any] = body["plan"]
        return plan
    return {name: value for name, value in body.items() if name not in AROUND}


def _canonical(plan: dict[str, Any], environment: str) -> bytes:
    """The plan as JSON in one spelling: sorted keys, `parameters` for `inputs`, its environment.

    Approvals and repetitions are bound to the hash of this. Two plans that differ in anything else
    differ here, however the difference is spelled.
    """
    plan = {**plan, "environment": environment}
    if "finally_steps" in plan:
        plan.setdefault("finally", plan.pop("finally_steps"))
    for name in ("steps", "finally"):
        if plan.get(name):
            plan[name] = [_one_spelling(step) for step in plan[name]]
    return orjson.dumps(plan, option=orjson.OPT_SORT_KEYS)


def _one_spelling(step: dict[str, Any]) -> dict[str, Any]:
    if "inputs" in step:
        step = {"parameters": step["inputs"], **step}
        del step["inputs"]
    if step.get("steps"):
        step = {**step, "steps": [_one_spelling(inner) for inner in step["steps"]]}
    if isinstance(step.get("compensate"), dict):
        step = {**step, "compensate": _one_spelling(step["compensate"])}
    return step


def _sender_of(request: ExecutionRequest) -> dict[str, Any]:
    return {
        "tenant": request.tenant,
        "actor": request.actor,
        "execution_id": request.execution_id,
        "idempotency_key": request.idempotency_key,
        "name": request.plan.name,
        "explain": request.explain,
    }


def _sender(value: bytes) -> dict[str, Any]:
    """Who sent a request that is not valid as a whole, as far as that can be told."""
    try:
        loose = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(loose, dict):
        return {}
    plan = loose.get("plan")
    named = {"name": plan.get("name") if isinstance(plan, dict) else loose.get("name")}
    given = {**loose, **named}
    told: dict[str, Any] = {
        name: given[name]
        for name, limit in _SENDER_LIMITS.items()
        if isinstance(given.get(name), str) and 0 < len(given[name]) <= limit
    }
    told["explain"] = loose.get("explain") is True
    if not re.fullmatch(ACTOR, told.get("actor", ANONYMOUS)):
        del told["actor"]
    return told


def _unreadable(value: bytes, error: ValidationError) -> Invalid | Undecodable:
    faults = error.errors(include_url=False, include_input=False)
    first = faults[0]
    if first["type"] == "json_invalid":
        if "recursion limit" in first["msg"]:
            return Invalid([Problem("plan", "it is nested too deep; flatten its parameters")])
        return Undecodable("not_json", first["msg"][:300])
    if not first["loc"]:
        return Undecodable("not_an_object", "the value is JSON, but not an object")
    problems = [
        Problem(_field(_location(dict(fault))), _sentence(dict(fault)))
        for fault in faults[:MAX_PROBLEMS]
    ]
    return Invalid(problems, **_sender(value))


def _location(fault: dict[str, Any]) -> tuple[int | str, ...]:
    """Where the fault is; the check of a whole object names the field itself."""
    named = (fault.get("ctx") or {}).get("field")
    location: tuple[int | str, ...] = fault["loc"]
    return location if named is None else (*location, named)


def _field(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        # These are members of a union, and no field of the user's.
        elif part not in ("constrained-str", "list[any]"):
            path += f".{part}" if path else part
    return path[:200]


def _sentence(fault: dict[str, Any]) -> str:
    context = fault.get("ctx") or {}
    match fault["type"]:
        case "missing":
            return "it is required"
        case "string_pattern_mismatch":
            return f"it must match {context.get('pattern')}"
        case "too_long":
            given, most = context.get("actual_length"), context.get("max_length")
            return f"{given} entries; at most {most} are allowed"
        case "too_short":
            return f"at least {context.get('min_length')} is needed"
        case _:
            message = str(fault["msg"])
            return (message[:1].lower() + message[1:])[:500]
