"""Every message type has a valid example, for the models and for the published schemas alike."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, TypeAdapter

from streams.commands import CONTROL_COMMAND, CancelStep, StepCommand
from streams.events import EventRecord, decode_event, encode_event, payload_adapter, typed
from streams.hooks import HookDelivery
from streams.ids import is_execution_id
from streams.lifecycle import TERMINAL_EVENTS
from streams.locks import LOCK_ANSWER, LOCK_COMMAND
from streams.payloads import EVENT_TYPES
from streams.plans import ExecutionRequest
from streams.procedures import ProcedureRecord, ProcedureRequest
from streams.progress import ProgressSnapshot
from streams.reports import REPORT, OutputChunk
from streams.schedules import SCHEDULE_COMMAND
from streams.schemas import FILES, message_schemas
from streams.triggers import TRIGGER_COMMAND

EXAMPLES = {
    path.name.removesuffix(".json"): path.read_bytes()
    for path in files("streams").joinpath("examples").iterdir()
    if path.name.endswith(".json")
}
VALIDATORS: dict[str, TypeAdapter[Any]] = {
    "execution-request": TypeAdapter(ExecutionRequest | ProcedureRequest),
    "control-command": CONTROL_COMMAND,
    "step-command": TypeAdapter(StepCommand),
    "cancel-step": TypeAdapter(CancelStep),
    "report": REPORT,
    "output-chunk": TypeAdapter(OutputChunk),
    "event": TypeAdapter(EventRecord),
    "progress-snapshot": TypeAdapter(ProgressSnapshot),
    "lock-command": LOCK_COMMAND,
    "lock-answer": LOCK_ANSWER,
    "procedure-record": TypeAdapter(ProcedureRecord),
    "schedule-command": SCHEDULE_COMMAND,
    "trigger-command": TRIGGER_COMMAND,
    "hook-delivery": TypeAdapter(HookDelivery),
}
SCHEMAS = {FILES[name]: schema for name, schema in message_schemas().items()}


def message(name: str) -> str:
    """The message type of an example: its name up to the first dot."""
    return name.partition(".")[0]


def surplus(value: Any, path: str = "") -> list[str]:
    """Fields that a model kept but does not know: in an example they are misspellings."""
    found: list[str] = []
    if isinstance(value, BaseModel):
        found += [f"{path}.{name}" for name in value.model_extra or ()]
        for name in type(value).model_fields:
            found += surplus(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += surplus(item, f"{path}[{index}]")
    return found


def test_there_is_a_model_and_a_schema_for_every_message() -> None:
    assert set(VALIDATORS) == set(SCHEMAS) == set(FILES.values())


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example_is_valid_for_its_model(name: str) -> None:
    validator = VALIDATORS[message(name)]
    found = validator.validate_json(EXAMPLES[name])
    # `inputs` is the second name of `parameters`, which the model keeps under the first.
    assert surplus(found) == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example_is_valid_for_the_published_schema(name: str) -> None:
    schema = SCHEMAS[message(name)]
    checker = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    checker.validate(json.loads(EXAMPLES[name]))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_schema_is_json_schema_2020_12(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_event_type_has_an_example_with_its_data(kind: str) -> None:
    record = EventRecord.model_validate_json(EXAMPLES[f"event.{kind}"])
    event = typed(record)
    assert event.type == kind
    assert (event.step is not None) == (kind.startswith("step.") or kind == "audit.secret_used")
    assert isinstance(event.data, EVENT_TYPES[kind])
    # Nothing in the example is unknown to the payload: there it would be a misspelling.
    assert record.data.keys() <= {item.name for item in dataclasses.fields(event.data)}
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_published_schema_refuses_an_event_without_its_data(kind: str) -> None:
    document = json.loads(EXAMPLES[f"event.{kind}"])
    required = payload_adapter(kind).json_schema().get("required")
    document["data"] = {}
    validator = jsonschema.Draft202012Validator(SCHEMAS["event"])
    assert validator.is_valid(document) == (not required)


def test_every_command_and_report_has_an_example() -> None:
    for name in ("control-command", "report", "lock-command", "lock-answer"):
        definitions = SCHEMAS[name]["$defs"]
        for variant in SCHEMAS[name]["oneOf"]:
            kind = definitions[variant["$ref"].rpartition("/")[2]]["properties"]["type"]["const"]
            assert f"{name}.{kind}" in EXAMPLES


def test_examples_of_events_are_one_story() -> None:
    """The ids are real, and numbers are not given twice within one execution."""
    seen: set[tuple[str, int]] = set()
    for name in EXAMPLES:
        document = json.loads(EXAMPLES[name])
        if "execution_id" in document:
            assert is_execution_id(document["execution_id"])
        if message(name) == "event":
            key = (document["execution_id"], document["seq"])
            assert key not in seen
            seen.add(key)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"steps": []},
        {"plan": {"steps": [{}]}},
        {"plan": {"steps": [{"tool": "df"}], "environment": "moon"}},
        {"steps": [{"tool": "df", "parameters": []}]},
        {"steps": [{"tool": "df", "inputs": "x"}]},
    ],
)
def test_schema_and_model_refuse_the_same_requests(document: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMAS["execution-request"])
    assert not validator.is_valid(document)
    with pytest.raises(ValueError, match="validation error"):
        ExecutionRequest.model_validate_json(json.dumps(document))


def test_terminal_events_end_an_execution_and_no_step() -> None:
    assert set(EVENT_TYPES) >= TERMINAL_EVENTS
    assert all(kind.startswith("execution.") for kind in TERMINAL_EVENTS)
