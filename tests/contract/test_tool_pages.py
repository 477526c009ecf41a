"""The pages about tools: their snippets are accepted, and what they name exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from drivers.connections import asset_of, connection_of
from drivers.errors import ERROR_CLASSES
from runtime import plan_documents
from runtime.settings import ExecutorSettings, variables
from streams.plans import Plan
from toolmeta import registry, secret_references
from toolmeta.check import check

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("cameras", "network", "windows", "communication")
SNIPPETS = [
    pytest.param(language, text, id=f"{page}-{number}")
    for page in PAGES
    for number, (language, text) in enumerate(
        re.findall(r"```(\w+)\n(.*?)```", (DOCS / f"{page}.md").read_text("utf-8"), re.S)
    )
]


def _page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text("utf-8")


@pytest.mark.parametrize(("language", "text"), SNIPPETS)
def test_snippets_are_accepted(language: str, text: str) -> None:
    document = plan_documents.parse(text) if language == "yaml" else json.loads(text)
    if "hostname" in document:
        assert connection_of(document["hostname"], asset_of(document)).known
        assert _faults_of_secrets(document) == []
        return
    plan = Plan.model_validate(document if "steps" in document else {"steps": [document]})
    for step in plan.steps:
        tool = registry.load().get(step.tool)
        assert tool is not None, step.tool
        assert check(tool, step.parameters, references_allowed=True) == []


def _faults_of_secrets(value: Any) -> list[str | None]:
    if secret_references.is_meant(value):
        fault = secret_references.fault(value)
        return [] if fault is None else [fault]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [fault for item in inner for fault in _faults_of_secrets(item)]


@pytest.mark.parametrize("page", PAGES)
def test_secret_references_in_the_text_are_well_formed(page: str) -> None:
    for text in re.findall(r'`(\{"type": ?"secret".*?\})`', _page(page)):
        assert _faults_of_secrets(json.loads(text)) == []


@pytest.mark.parametrize("page", PAGES)
def test_error_classes_of_the_tables_exist(page: str) -> None:
    for table in re.findall(r"\n\| error class \|[^\n]*\n\|[-|]*\n((?:\|[^\n]*\n)+)", _page(page)):
        for row in table.strip().split("\n"):
            named = re.findall(r"`([a-z_]+)`", row.split("|")[1])
            assert named, row
            assert set(named) <= set(ERROR_CLASSES)


@pytest.mark.parametrize("page", PAGES)
def test_tools_that_are_named_exist(page: str) -> None:
    names = r"`((?:axis_vapix|get_win|invoke|measure)_[a-z_]+|powershell|schtasks|nmap|tcpdump)`"
    for name in re.findall(names, _page(page)):
        assert registry.load().get(name) is not None, name


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`((?:RUNSTREAM|SMTP)_[A-Z0-9_]+)", _page(page))
    assert set(named) <= variables(ExecutorSettings).keys()
