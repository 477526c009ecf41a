"""The schemas of plans for editors: real files are valid, and misspelled ones are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from console import plan_schema
from runtime import coreyaml

ROOT = Path(__file__).parents[2]
SCHEMAS = plan_schema.schemas()
PLANS = sorted(
    (*(ROOT / "demo" / "plans").glob("*.yaml"), *(ROOT / "demo" / "procedures").glob("*.yaml"))
)
PROCEDURES = [path for path in PLANS if path.parent.name == "procedures"]


def faults(value: Any, name: str = "plan") -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMAS[name])
    return [error.message for error in validator.iter_errors(value)]


def load(path: Path) -> Any:
    return coreyaml.load(path.read_text())


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_published_as_json_schema_2020_12(name: str) -> None:
    published = ROOT / "docs" / "reference" / "schemas" / f"{name}.schema.json"
    assert json.loads(published.read_text()) == SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.name)
def test_the_plans_of_the_demo_are_valid(path: Path) -> None:
    assert PLANS and PROCEDURES
    assert faults(load(path)) == []


@pytest.mark.parametrize("path", PROCEDURES, ids=lambda path: path.name)
def test_the_procedures_of_the_demo_are_valid(path: Path) -> None:
    assert faults(load(path), "procedure") == []


def plan(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "version": 1, "steps": [{"tool": "df"}], **fields}


@pytest.mark.parametrize(
    "right",
    [
        plan(),
        plan(steps=[{"tool": "a_tool_of_our_own", "inputs": {"x": 1}}]),
        plan(inputs={"t": {"type": "integer"}}, timeout_seconds="{{ inputs.t }}"),
        plan(inputs={"e": {}}, environment="{{ inputs.e }}",
             steps=[{"tool": "df", "max_parallel": "{{ inputs.n }}", "assets": "{{ inputs.l }}"}]),
    ],
)  # fmt: skip
def test_what_the_router_takes_is_valid(right: Any) -> None:
    assert faults(right) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        plan(steps=[]),
        plan(steps=[{}]),
        plan(stepps=[]),
        plan(steps=[{"tool": "df", "dependson": []}]),
        plan(steps=[{"tool": "df", "parameters": ["a"]}]),
        plan(steps=[{"tool": "df", "compensate": {"tools": "df"}}]),
        plan(steps=[{"tool": "df", "retry": {"attempts": 2}}]),
        plan(environment="moon"),
        plan(priority=11),
        plan(timeout_seconds="soon"),
        plan(inputs={"x": {"type": "text"}}),
        plan(inputs={"x": {"requird": True}}),
        plan(inputs={"x": "string"}),
        plan(version=[1]),
    ],
)
def test_what_is_wrong_is_not_valid(wrong: Any) -> None:
    assert faults(wrong) != []


def test_a_procedure_has_a_name_and_a_version() -> None:
    assert faults(plan(), "procedure") == []
    for wrong in ({"name": "Restart Web"}, {"name": None}, {"version": None}):
        assert faults({**plan(), **wrong}, "procedure") != []
    assert faults({"steps": [{"tool": "df"}]}, "procedure") != []
