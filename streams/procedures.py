"""Procedures: plans that are kept under a name, and the requests that run them.

A record of `execution.procedures` holds one procedure as it was applied last; its key is the tenant
and the name. Who applied it is said by its signature, which counts when the procedure is used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from streams.actors import ANONYMOUS, Actor
from streams.limits import MAX_REQUEST_BYTES
from streams.on_behalf import MEANING, OnBehalfOf
from streams.started import StartedBy

PROCEDURE_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,99}$"
PROCEDURE_VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
TENANT: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
#: A record of the topic: the plan, and what stands around it.
MAX_PROCEDURE_BYTES: Final = MAX_REQUEST_BYTES

ProcedureName = Annotated[str, Field(pattern=PROCEDURE_NAME)]
Version = Annotated[str, Field(pattern=PROCEDURE_VERSION)]


def version_text(value: Any) -> Any:
    """A version as text; 3 is "3", and 1.10 is refused, since it would be read as 1.1."""
    if isinstance(value, bool | float):
        raise PydanticCustomError("version", "a version such as 1.10 stands in quotes")
    return str(value) if isinstance(value, int) else value


#: A version as a file or a request may write it.
WrittenVersion = Annotated[
    Version, BeforeValidator(version_text, json_schema_input_type=Version | int)
]

_OPEN: Final = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, defer_build=True)


class ProcedureRecord(BaseModel):
    """One procedure as it was applied; without a plan it was removed."""

    model_config = _OPEN

    tenant: str = Field(pattern=TENANT)
    name: ProcedureName
    version: Version
    actor: Actor = ANONYMOUS
    plan: dict[str, Any] | None = Field(
        default=None, description="the plan with its inputs; null where the procedure was removed"
    )


class ProcedureRequest(BaseModel):
    """A request to run a procedure: its name and inputs in the place of a plan."""

    model_config = _OPEN

    procedure: ProcedureName
    version: WrittenVersion | None = Field(
        default=None, description="runs only if this version is applied; any version if absent"
    )
    inputs: dict[str, Any] | None = Field(default=None, description="values of its inputs")
    execution_id: str | None = Field(default=None, description="UUIDv8 carrying the route key")
    tenant: str = Field(default="default", pattern=TENANT)
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


@dataclass(slots=True)
class ProcedureRun:
    """Which procedure a request named in the place of a plan."""

    name: str
    version: str
    digest: Annotated[str, Field(description="SHA-256 of the procedure's plan with its inputs")]
    inputs: Annotated[str, Field(description="SHA-256 of the inputs as the request gave them")]


def record_key(tenant: str, name: str) -> str:
    """The key of a procedure's record."""
    return f"{tenant}/{name}"


def digest_of(value: Any) -> str:
    """The SHA-256 of a JSON value, whatever the order of its fields."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
