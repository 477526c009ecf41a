"""Environments: several spellings are read, one is stored."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from streams.plans import Plan

SCHEMA = Draft202012Validator(Plan.model_json_schema())


def plan(environment: Any) -> dict[str, Any]:
    return {"steps": [{"tool": "noop"}], "environment": environment}


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("dev", "dev"),
        ("development", "dev"),
        ("staging", "staging"),
        ("prod", "prod"),
        ("production", "prod"),
    ],
)
def test_a_plan_stores_one_spelling(written: str, stored: str) -> None:
    assert Plan.model_validate(plan(written)).environment == stored
    # What is accepted also fits the published schema.
    assert SCHEMA.is_valid(plan(written))


@pytest.mark.parametrize("written", ["Production", "live", "", 1, None, ["prod"]])
def test_anything_else_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError, match="environment"):
        Plan.model_validate(plan(written))
    assert not SCHEMA.is_valid(plan(written))
