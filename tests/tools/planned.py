"""Parameters as a plan may write them: secrets in files of the executor, references in the plan."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from tests.secret_kit import secret_file
from toolmeta import literals, registry


def planned(tool: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The same parameters with every literal secret written to a file and referred to."""
    found = registry.load().get(tool)
    if found is None:
        return parameters
    secrets = {problem.field for problem in literals.problems(found, parameters)}
    spellings = {
        spelling: f"parameters.{name}"
        for name, shape in found.parameters.items()
        for spelling in (name, *shape.aliases)
    }
    return {
        name: _referred(value, spellings.get(name, ""), secrets)
        for name, value in parameters.items()
    }


def _referred(value: Any, field: str, secrets: set[str]) -> Any:
    """The value, or a reference to it; of an object each of its fields."""
    if isinstance(value, str) and field in secrets:
        return kept(value)
    if isinstance(value, dict):
        return {name: _referred(one, f"{field}.{name}", secrets) for name, one in value.items()}
    return value


def kept(value: str) -> dict[str, str]:
    """A reference to this secret, which the executors of the stack can read from now on."""
    name = hashlib.sha256(value.encode()).hexdigest()[:16]
    secret_file(Path(os.environ["RUNSTREAM_SECRETS_DIR"]), name, value)
    return {"type": "secret", "path": f"file/{name}"}
