"""Resolution: from a plan with inputs, and the values for them, to the request that is decided."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from processors.router.input_references import SecretPlace, Substituted, substitute
from processors.router.input_values import declarations, values
from streams.plans import ExecutionRequest
from streams.procedures import ProcedureRequest, ProcedureRun, digest_of
from toolmeta.check import checker_of
from toolmeta.invocation import Problem
from toolmeta.registry import Registry

#: The places outside of parameters that take a reference to a secret.
_SECRET_FIELDS: Final = re.compile(
    r"\.(secrets\.[^.\[]+|become\.password|connection(\.jump\[\d+\])?\.(key|password))$"
)


@dataclass(frozen=True, slots=True)
class Readable:
    """A well-formed request, what its own key would be made of, and the hash of its plan."""

    request: ExecutionRequest
    plan: dict[str, Any] = field(repr=False)
    plan_hash: str
    procedure: ProcedureRun | None = None
    #: Where the references of its secret inputs were put.
    secrets: tuple[SecretPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """A plan with the values of its inputs, as JSON of a request, and as it is hashed."""

    body: bytes
    canonical: dict[str, Any]
    secrets: tuple[SecretPlace, ...]


def resolve(
    around: dict[str, Any], plan: dict[str, Any], given: dict[str, Any]
) -> Resolved | list[Problem]:
    """The request of this plan with these inputs; or what is wrong with them."""
    declared = declarations(plan.get("inputs"))
    if isinstance(declared, list):
        return declared
    found = values(declared, given)
    if isinstance(found, list):
        return found
    done = substitute(plan, declared, found)
    if isinstance(done, list):
        return done
    return resolved(around, done, {n: v for n, v in found.items() if not declared[n].secret})


def resolved(
    around: dict[str, Any], done: Substituted, shown: dict[str, Any]
) -> Resolved | list[Problem]:
    """The request of a plan whose references are replaced; `shown` are the inputs but secrets.

    Those stand in parameters only, where everybody sees that they are references.
    """
    # Conditions look at the values, so they are hashed with the plan.
    values_too = {"inputs": shown} if shown else {}
    try:
        raw = orjson.dumps({**around, "plan": done.plan, **values_too})
    except TypeError as error:
        return [Problem("plan", f"it is not plain JSON: {error}")]
    return Resolved(raw, {**done.plan, **values_too}, tuple(done.secrets))


def secret_problems(places: tuple[SecretPlace, ...], registry: Registry) -> Iterator[Problem]:
    """A problem for each secret input that stands where no secret belongs."""
    for place in places:
        if place.tool is None or place.parameter is None:
            allowed = _SECRET_FIELDS.search(place.field) is not None
        else:
            tool = registry.get(place.tool)
            if tool is None:
                continue  # Refused as such.
            name = checker_of(tool).canonical.get(place.parameter)
            allowed = name is None or name in tool.secret_parameters
        if not allowed:
            message = f"{place.input} is a secret, and only a parameter that is one takes it"
            yield Problem(place.field[:200], message)


def run_of(asked: ProcedureRequest, version: str, plan: dict[str, Any]) -> ProcedureRun:
    """What is recorded of the procedure that a request runs."""
    return ProcedureRun(asked.procedure, version, digest_of(plan), digest_of(asked.inputs or {}))


def is_repeated(asked: ProcedureRequest, run: ProcedureRun | None) -> bool:
    """Whether a request asks for what has run already.

    The same procedure and inputs as the request gave them, and no other version than the one that
    ran: a request that is sent again is the same one, though the procedure was changed meanwhile.
    """
    return (
        run is not None
        and run.name == asked.procedure
        and asked.version in (None, run.version)
        and run.inputs == digest_of(asked.inputs or {})
    )


def hash_of(canonical: bytes) -> str:
    """The hash of a plan in its one spelling."""
    return hashlib.sha256(canonical).hexdigest()
