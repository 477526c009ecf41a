"""JSON Schemas (2020-12) of every message, built from the models that read them."""

from __future__ import annotations

import copy
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from streams.commands import CONTROL_COMMAND, CancelStep, StepCommand
from streams.events import EventRecord, payload_adapter
from streams.hooks import HookDelivery
from streams.locks import LOCK_ANSWER, LOCK_COMMAND
from streams.payloads import EVENT_TYPES
from streams.plans import ExecutionRequest, Plan
from streams.procedures import ProcedureRecord, ProcedureRequest
from streams.progress import ProgressSnapshot
from streams.reports import REPORT, OutputChunk
from streams.schedules import SCHEDULE_COMMAND
from streams.triggers import TRIGGER_COMMAND

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

#: File name (without `.schema.json`) of every message, by what the topic registry says is carried.
FILES: Final = {
    "ExecutionRequest": "execution-request",
    "ControlCommand": "control-command",
    "StepCommand": "step-command",
    "CancelStep": "cancel-step",
    "Report": "report",
    "OutputChunk": "output-chunk",
    "Event": "event",
    "ProgressSnapshot": "progress-snapshot",
    "LockCommand": "lock-command",
    "LockAnswer": "lock-answer",
    "ProcedureRecord": "procedure-record",
    "ScheduleCommand": "schedule-command",
    "TriggerCommand": "trigger-command",
    "HookDelivery": "hook-delivery",
}

_DESCRIPTIONS: Final = {
    "ControlCommand": "What an operator tells an execution.",
    "Report": "What an executor says about an attempt that it claimed. A record whose ce_type is "
    "runstream.reports.v1 holds several, one in each line.",
    "LockCommand": "What an execution asks of the lock keeper.",
    "LockAnswer": "What the lock keeper tells an execution.",
    "ScheduleCommand": "What an operator, or the router, tells a schedule.",
    "TriggerCommand": "What an operator, or the matcher, tells a trigger.",
}


def message_schemas() -> dict[str, Schema]:
    """Every message's schema, by the name that the topic registry uses."""
    return {
        "ExecutionRequest": _document("ExecutionRequest", _request()),
        "ControlCommand": _document("ControlCommand", _adapter(CONTROL_COMMAND)),
        "StepCommand": _document("StepCommand", _model(StepCommand)),
        "CancelStep": _document("CancelStep", _model(CancelStep)),
        "Report": _document("Report", _adapter(REPORT)),
        "OutputChunk": _document("OutputChunk", _model(OutputChunk)),
        "Event": _document("Event", _event()),
        "ProgressSnapshot": _document("ProgressSnapshot", _model(ProgressSnapshot)),
        "LockCommand": _document("LockCommand", _adapter(LOCK_COMMAND)),
        "LockAnswer": _document("LockAnswer", _adapter(LOCK_ANSWER)),
        "ProcedureRecord": _document("ProcedureRecord", _model(ProcedureRecord)),
        "ScheduleCommand": _document("ScheduleCommand", _adapter(SCHEDULE_COMMAND)),
        "TriggerCommand": _document("TriggerCommand", _adapter(TRIGGER_COMMAND)),
        "HookDelivery": _document("HookDelivery", _model(HookDelivery)),
    }


def _document(name: str, schema: Schema) -> Schema:
    head: Schema = {
        "$schema": DIALECT,
        "$id": f"urn:runstream:schema:{FILES[name]}:v1",
        "title": name,
    }
    if name in _DESCRIPTIONS:
        head["description"] = _DESCRIPTIONS[name]
    return {**head, **{key: value for key, value in schema.items() if key != "title"}}


def _model(model: type[BaseModel]) -> Schema:
    return _without_discriminators(model.model_json_schema(by_alias=True))


def _adapter(adapter: TypeAdapter[Any]) -> Schema:
    return _without_discriminators(adapter.json_schema(by_alias=True))


def _without_discriminators(schema: Schema) -> Schema:
    """The schema without OpenAPI's `discriminator` objects, which JSON Schema does not have.

    AsyncAPI has a keyword of that name with another type, and strict validators refuse a keyword
    that they do not know. Nothing is lost: each variant fixes its `type` by `const`.
    """

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: without(item)
                for key, item in value.items()
                # A property that happens to have this name is described by a schema of its own.
                if not (key == "discriminator" and "propertyName" in item)
            }
        return [without(item) for item in value] if isinstance(value, list) else value

    kept: Schema = without(schema)
    return kept


def _request() -> Schema:
    """The whole form, and the bare one in which the plan's fields stand at the top."""
    whole = _model(ExecutionRequest)
    definitions: Schema = whole.pop("$defs")
    plan = definitions["Plan"]
    _with_both_names(definitions)
    around = {key: value for key, value in whole["properties"].items() if key != "plan"}
    definitions["WholeRequest"] = {**whole, "title": "WholeRequest"}
    named = _model(ProcedureRequest)
    # A request is of a plan or of a procedure, never of both.
    named["properties"] |= {"plan": False, "steps": False}
    definitions["ProcedureRequest"] = named
    whole["properties"]["procedure"] = False
    definitions["BareRequest"] = {
        "title": "BareRequest",
        "description": "A plan alone is a whole request.",
        "type": "object",
        "additionalProperties": True,
        # `plan: false` says that the field is absent.
        "properties": {**around, **plan["properties"], "plan": False, "procedure": False},
        "required": ["steps"],
    }
    return {
        "description": whole.pop("description"),
        "anyOf": [
            {"$ref": "#/$defs/WholeRequest"},
            {"$ref": "#/$defs/BareRequest"},
            {"$ref": "#/$defs/ProcedureRequest"},
        ],
        "$defs": definitions,
    }


def plan_schema() -> Schema:
    """What a plan says, apart from the request that it stands in."""
    schema = _model(Plan)
    _with_both_names(schema["$defs"])
    return schema


def _with_both_names(definitions: Schema) -> None:
    """The validators accept both names; a schema has to say so itself."""
    for name in ("Step", "Compensation"):
        properties = definitions[name]["properties"]
        properties["inputs"] = {
            **copy.deepcopy(properties["parameters"]),
            "description": "another name for `parameters`",
        }


def _event() -> Schema:
    """The event, with the shape of `data` for each type that is known."""
    schema = _model(EventRecord)
    definitions: Schema = schema.setdefault("$defs", {})
    rules: list[Schema] = []
    for kind, model in EVENT_TYPES.items():
        data = _adapter(payload_adapter(kind))
        definitions.update(data.pop("$defs", {}))
        definitions[model.__name__] = data
        rules.append(
            {
                "if": {"properties": {"type": {"const": kind}}},
                "then": {"properties": {"data": {"$ref": f"#/$defs/{model.__name__}"}}},
            }
        )
    schema["$defs"] = dict(sorted(definitions.items()))
    # A type of a later version is no error: readers ignore what they do not know.
    schema["properties"]["type"]["examples"] = list(EVENT_TYPES)
    schema["allOf"] = rules
    return schema
