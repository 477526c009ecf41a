"""Procedures: as they were applied, with their inputs as JSON Schema, and what was run of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from reading.compacted import CompactedTopic
from reading.models.procedures import (
    ProcedureDetail,
    ProcedureInput,
    ProcedureList,
    ProcedureSummary,
    VersionUse,
)
from streams.envelope import SIGNATURE, header, message_headers
from streams.inputs import Input, Inputs
from streams.procedures import ProcedureRecord, digest_of, record_key
from streams.schemas import DIALECT
from streams.topics import PROCEDURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from confluent_kafka import Message
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Row
    from runtime.settings import CommonSettings

_MAX_VERSIONS: Final = 20
_INPUTS: Final[TypeAdapter[dict[str, Input]]] = TypeAdapter(Inputs)
#: The types of inputs as JSON Schema names them.
_TYPES: Final = {"list": "array"}
#: The latest executions of it: those of a procedure that runs each second are millions.
_VERSIONS: Final = """
SELECT procedure_version AS version, procedure_digest AS digest, count(*) AS executions,
       min(created_at) AS first_at, max(created_at) AS last_at
FROM (SELECT procedure_version, procedure_digest, created_at FROM execution.executions AS e
      WHERE procedure = %(name)s AND {visible} ORDER BY created_at DESC LIMIT 10000) AS latest
GROUP BY 1, 2 ORDER BY 5 DESC LIMIT %(rows)s
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """A procedure as it was applied last."""

    record: ProcedureRecord
    #: Whether its record is signed at all; routers decide whether the signature counts.
    signed: bool

    @property
    def plan(self) -> dict[str, Any]:
        """The plan with its inputs."""
        return self.record.plan or {}

    @property
    def digest(self) -> str:
        """The digest that is recorded when it runs."""
        return digest_of(self.plan)


def topic(settings: CommonSettings) -> CompactedTopic[Applied]:
    """Procedures as they stand on their topic."""
    return CompactedTopic(settings, PROCEDURES, take)


def take(message: Message) -> Applied | None:
    """The procedure in a record; None where it was removed, or nobody can read it."""
    try:
        return applied_in(message)
    except ValidationError:
        return None


def applied_in(message: Message) -> Applied | None:
    """The procedure in a record, None where it was removed; raises pydantic.ValidationError."""
    record = ProcedureRecord.model_validate_json(message.value() or b"")
    key = (message.key() or b"").decode(errors="replace")
    if record.plan is None or record_key(record.tenant, record.name) != key:
        return None
    return Applied(record, header(message_headers(message), SIGNATURE) is not None)


def of_tenant(found: Mapping[bytes, Applied], tenant: str) -> dict[str, Applied]:
    """The procedures of a tenant, by name."""
    mine = [one for one in found.values() if one.record.tenant == tenant]
    return {one.record.name: one for one in sorted(mine, key=lambda one: one.record.name)}


def listing(found: Iterable[Applied]) -> ProcedureList:
    """The procedures as a list."""
    procedures = [summary(one) for one in found]
    return ProcedureList(procedures=procedures, total=len(procedures))


def summary(applied: Applied) -> ProcedureSummary:
    """One procedure in a list."""
    record, plan = applied.record, applied.plan
    declared = inputs_of(plan)
    return ProcedureSummary(
        name=record.name,
        version=record.version,
        description=_text(plan.get("description")) or _text(plan.get("name")),
        environment=_text(plan.get("environment")),
        actor=record.actor,
        signed=applied.signed,
        digest=applied.digest,
        steps=_steps(plan),
        inputs=len(declared),
        required_inputs=[name for name, one in declared.items() if one.must_be_given],
    )


def detail(connection: Connection[Row], reader: Reader, applied: Applied) -> ProcedureDetail:
    """One procedure, with the versions of it that the reader may see executions of."""
    visible = reader.condition()
    given = {**visible.values, "name": applied.record.name, "rows": _MAX_VERSIONS}
    rows = connection.execute(_VERSIONS.format(visible=visible.sql), given).fetchall()
    declared = inputs_of(applied.plan)
    return ProcedureDetail(
        **summary(applied).model_dump(),
        input_list=[_input(name, one) for name, one in declared.items()],
        input_schema=schema_of(declared),
        plan=applied.plan,
        versions=[VersionUse(**row) for row in rows],
    )


def inputs_of(plan: dict[str, Any]) -> dict[str, Input]:
    """The inputs that a plan declares; none where the router would refuse what it says of them."""
    try:
        return _INPUTS.validate_python(plan.get("inputs") or {})
    except ValidationError:
        return {}


def schema_of(declared: dict[str, Input]) -> dict[str, Any]:
    """What the `inputs` of a request must be, as JSON Schema."""
    return {
        "$schema": DIALECT,
        "type": "object",
        "properties": {name: _schema(one) for name, one in declared.items()},
        "required": [name for name, one in declared.items() if one.must_be_given],
        "additionalProperties": False,
    }


def _schema(declared: Input) -> dict[str, Any]:
    told: dict[str, Any] = {"description": declared.description, "default": declared.default}
    if declared.secret:
        told |= {
            "type": "object",
            "properties": {"type": {"const": "secret"}, "path": {"type": "string"}},
            "required": ["type", "path"],
        }
    else:
        length = "Items" if declared.type == "list" else "Length"
        told |= {
            "type": _TYPES.get(declared.type, declared.type),
            "enum": declared.enum,
            "pattern": None if declared.pattern is None else f"^(?:{declared.pattern})$",
            "minimum": declared.minimum,
            "maximum": declared.maximum,
            f"min{length}": declared.min_length,
            f"max{length}": declared.max_length,
        }
        if declared.items is not None:
            told["items"] = {"type": _TYPES.get(declared.items, declared.items)}
    return {name: value for name, value in told.items() if value is not None}


def _input(name: str, declared: Input) -> ProcedureInput:
    return ProcedureInput(
        name=name,
        type=declared.type,
        description=declared.description,
        required=declared.must_be_given,
        default=declared.default,
        enum=declared.enum,
        pattern=declared.pattern,
        minimum=declared.minimum,
        maximum=declared.maximum,
        min_length=declared.min_length,
        max_length=declared.max_length,
        items=declared.items,
        secret=declared.secret,
    )


def _steps(plan: dict[str, Any]) -> int:
    return sum(len(steps) for steps in (plan.get("steps"), plan.get("finally"))
               if isinstance(steps, list))  # fmt: skip


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
