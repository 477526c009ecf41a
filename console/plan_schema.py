"""The JSON Schemas of files of plans, procedures, schedules and triggers, for editors.

Unlike the schema of a request they know every field: another one is a misspelling. Whatever says
more than its shape (ids, cycles, parameters of tools) is what `runstream explain` and
`runstream procedures lint` check.
"""

from __future__ import annotations

from typing import Any, Final

from streams.plans import Plan
from streams.procedures import PROCEDURE_NAME
from streams.schedules import Schedule
from streams.schemas import DIALECT, Schema, plan_schema
from streams.triggers import Trigger
from toolmeta import registry

#: A plain reference to an input, which may stand for a value of any type.
_REFERENCE: Final[Schema] = {
    "type": "string",
    "pattern": r"^\s*\{\{\s*inputs[.\[].*\}\}\s*$",
    "description": "a reference to an input",
}
#: These are no places of values, or take every text anyway.
_AS_THEY_ARE: Final = frozenset({"steps", "inputs", "parameters", "compensate", "version"})


def schemas() -> dict[str, Schema]:
    """Each schema by its file name without `.schema.json`."""
    plan = _strict(plan_schema())
    name = {**plan["properties"]["name"], "type": "string", "pattern": PROCEDURE_NAME}
    name.pop("anyOf", None)
    version = dict(plan["properties"]["version"])
    version["anyOf"] = [one for one in version["anyOf"] if one.get("type") != "null"]
    version.pop("default", None)
    procedure = {
        **plan,
        "properties": {**plan["properties"], "name": name, "version": version},
        "required": ["name", "version", "steps"],
    }
    return {
        "plan": _document("plan", "Plan", Plan.__doc__ or "", plan),
        "procedure": _document(
            "procedure", "Procedure", "A plan with a name and a version.", procedure
        ),
        "schedule": _document(
            "schedule", "Schedule", Schedule.__doc__ or "", Schedule.model_json_schema()
        ),
        "trigger": _document(
            "trigger", "Trigger", Trigger.__doc__ or "", Trigger.model_json_schema()
        ),
    }


def _document(name: str, title: str, description: str, schema: Schema) -> Schema:
    head: Schema = {
        "$schema": DIALECT,
        "$id": f"urn:runstream:schema:{name}:v1",
        "title": title,
        "description": description,
    }
    return {**head, **{key: value for key, value in schema.items() if key not in head}}


def _strict(plan: Schema) -> Schema:
    definitions: dict[str, Schema] = {
        name: _object(name, schema) for name, schema in plan.pop("$defs").items()
    }
    tools = [
        {"const": tool.name, "description": tool.description.split("\n")[0][:200]}
        for tool in registry.load().all()
    ]
    for name in ("Step", "Compensation"):
        # A tool of one's own is not known here.
        one = definitions[name]["properties"]["tool"]
        definitions[name]["properties"]["tool"] = {
            "description": one.get("description", "canonical name or alias"),
            "anyOf": [{"oneOf": tools}, {"type": "string", "minLength": 1, "maxLength": 64}],
        }
    whole = _object("Plan", plan)
    return {**whole, "$defs": definitions}


def _object(name: str, schema: Schema) -> Schema:
    """An object with these fields only, in which a reference may stand for a value."""
    properties: dict[str, Any] | None = schema.get("properties")
    if properties is None:
        return schema
    if name != "Input":
        properties = {
            key: value if key in _AS_THEY_ARE else _or_reference(value)
            for key, value in properties.items()
        }
    return {**schema, "properties": properties, "additionalProperties": False}


def _or_reference(schema: Schema) -> Schema:
    if schema.get("type") == "string" and not schema.keys() & {"pattern", "enum", "const"}:
        return schema
    kept: Schema = {
        key: schema[key] for key in ("description", "default", "title") if key in schema
    }
    rest = {key: value for key, value in schema.items() if key not in kept}
    if set(rest) == {"anyOf"}:
        return {**kept, "anyOf": [*rest["anyOf"], _REFERENCE]}
    return {**kept, "anyOf": [rest, _REFERENCE]}
