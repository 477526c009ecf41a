"""The digest of a definition: what is approved is a tool as it is defined."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel

from toolmeta.model import Contacts, EffectBy, Risk, Run, Tool
from toolmeta.parameters import Parameter
from toolmeta.registry import load

TOOLS = load().all()
KUBECTL = next(tool for tool in TOOLS if tool.name == "kubectl")


def test_each_tool_has_a_digest_of_its_own() -> None:
    assert len({tool.digest for tool in TOOLS}) == len(TOOLS)


def test_every_process_finds_the_same() -> None:
    program = "from toolmeta.registry import load\nprint([tool.digest for tool in load().all()])"
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{[tool.digest for tool in TOOLS]}\n".encode()}


def changed(model: Any, *path: str) -> Any:
    """The model with another value at this path."""
    name, *rest = path
    value = getattr(model, name) if isinstance(model, BaseModel) else model[name]
    other: Any = changed(value, *rest) if rest else {"another": "value"}
    if isinstance(model, dict):
        return {**model, name: other}
    copied = model.model_copy(update={name: other})
    copied.__dict__.pop("digest", None)  # A copy takes what was worked out along.
    return copied


def paths() -> list[tuple[str, ...]]:
    """Every field of a definition, of its parts, and of one parameter."""
    parts: dict[tuple[str, ...], type[BaseModel]] = {
        (): Tool,
        ("run",): Run,
        ("run", "contacts"): Contacts,
        ("risk",): Risk,
        ("risk", "effect_by"): EffectBy,
        ("parameters", "command"): Parameter,
    }
    return [(*place, name) for place, part in parts.items() for name in part.model_fields]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("path", paths(), ids=".".join)
def test_whatever_is_changed_in_a_definition_changes_its_digest(path: tuple[str, ...]) -> None:
    assert changed(KUBECTL, *path).digest != KUBECTL.digest
