"""Decoding requests: from bytes to a request, a clear refusal, or a dead letter.

Bytes that are no JSON object belong in the dead-letter topic, unchanged. Everything
that is JSON but no valid request is a rejection, with one sentence per fault that names its field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

import orjson
from pydantic import ValidationError

from processors.router.decoding import Undecodable, is_suspicious, unstorable
from processors.router.resolution import Readable, Resolved, hash_of, resolve
from streams.actors import ACTOR, ANONYMOUS
from streams.limits import MAX_REQUEST_BYTES
from streams.plans import AROUND, ExecutionRequest
from streams.procedures import ProcedureRequest, ProcedureRun
from toolmeta.invocation import Problem

MAX_PROBLEMS: Final = 20
#: A request without any of these in its bytes is of a plan as it stands. Names can be escaped.
_NOT_YET_A_PLAN: Final = (b"procedure", b"inputs", b"\\u")
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
class Asked:
    """A request of a procedure, and what its own idempotency key would be made of."""

    request: ProcedureRequest
    written: dict[str, Any]


def decode_request(value: bytes | None) -> Readable | Asked | Invalid | Undecodable:
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
    if any(name in value for name in _NOT_YET_A_PLAN):
        found = _not_yet_a_plan(value)
        if found is not None:
            return found
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
    return Readable(request, plan, hash_of(canonical))


def _not_yet_a_plan(value: bytes) -> Readable | Asked | Invalid | None:
    """A request of a procedure, or of a plan with inputs; None for any other, and for no JSON."""
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict):
        return None
    if "procedure" in body:
        return _asked(value, body)
    plan = body["plan"] if "plan" in body else _as_written(body)
    given = body.get("inputs") if "plan" in body else None
    if not isinstance(plan, dict) or not isinstance(given, dict | None):
        return None
    around = {name: body[name] for name in body if name in AROUND}
    written = {"plan": plan, "inputs": given} if given else plan
    return with_inputs(around, plan, given or {}, written)


def _asked(value: bytes, body: dict[str, Any]) -> Asked | Invalid:
    if "plan" in body or "steps" in body:
        message = "a request is of a procedure or of a plan: leave one of the two out"
        return Invalid([Problem("procedure", message)], **_sender(value))
    try:
        request = ProcedureRequest.model_validate(body)
    except ValidationError as error:
        problems = [
            Problem(_field(_location(dict(fault))), _sentence(dict(fault)))
            for fault in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        ]
        return Invalid(problems, **_sender(value))
    names = ("procedure", "version", "inputs")
    return Asked(request, {name: body[name] for name in names if body.get(name) is not None})


def with_inputs(
    around: dict[str, Any],
    plan: dict[str, Any],
    given: dict[str, Any],
    written: dict[str, Any],
    procedure: ProcedureRun | None = None,
) -> Readable | Invalid:
    """The request of a plan, once its inputs have these values; `around` is who asks for it."""
    found = resolve(around, plan, given)
    if isinstance(found, list):
        return Invalid(found[:MAX_PROBLEMS], **_sender(orjson.dumps({**around, "plan": plan})))
    return decode_resolved(found, written, procedure)


def decode_resolved(
    found: Resolved, written: dict[str, Any], procedure: ProcedureRun | None = None
) -> Readable | Invalid:
    """The request of a plan whose inputs have their values."""
    try:
        request = ExecutionRequest.model_validate_json(found.body)
    except ValidationError as error:
        unreadable = _unreadable(found.body, error)
        assert isinstance(unreadable, Invalid)  # it is JSON, and an object  # noqa: S101
        return unreadable
    if is_suspicious(found.body, nul=False):
        problems = list(islice(unstorable(orjson.loads(found.body)["plan"], "plan"), MAX_PROBLEMS))
        if problems:
            return Invalid(problems, **_sender_of(request))
    canonical = _canonical(found.canonical, request.plan.environment)
    return Readable(request, written, hash_of(canonical), procedure, found.secrets)


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
