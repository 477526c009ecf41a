"""What tests of tools ask before or without running one."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from toolmeta import registry
from toolmeta.check import check


def needs(program: str, package: str) -> None:
    """Skip, and say what to install, where the program is absent."""
    if shutil.which(program) is None:
        pytest.skip(f"program {program} is not installed: apt install {package}")


def refusal(tool: str, parameters: dict[str, Any]) -> str:
    """What the router answers to a step with these parameters; empty where it takes them.

    It asks `check` itself, as the router does: refusing needs no broker.
    """
    definition = registry.load().get(tool)
    assert definition is not None, tool
    problems = check(definition, parameters, references_allowed=True)
    return "; ".join(f"{problem.field} {problem.message}" for problem in problems)
