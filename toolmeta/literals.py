"""Literal secrets: what a plan may not write down, since a plan stands in topics and tables.

A parameter that is marked `secret` takes a reference. Most are secrets as a whole, so a reference
is all they take. Some carry content in which a secret may stand, such as the headers of a request;
these take other values too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from toolmeta import secret_references
from toolmeta.check import checker_of
from toolmeta.invocation import Problem
from toolmeta.model import Tool

#: Parameters, by canonical name, that carry content in which a secret may stand.
CONTENT: Final = frozenset(
    {
        "action_config",
        "body",
        "form",
        "headers",
        "input",
        "json",
        "manifest",
        "payload",
        "url",
        "values",
    }
)

_REFUSED: Final = (
    "takes a secret reference only: everybody who reads a topic or a table would see the value "
    f"itself, or what a template makes of an output; {secret_references.REMEDY}"
)


@lru_cache(maxsize=1_024)
def secrets_of(tool: Tool) -> frozenset[str]:
    """The parameters that are a secret as a whole, by canonical name."""
    return tool.secret_parameters - CONTENT


def as_planned(tool: Tool) -> dict[str, Any]:
    """The parameters of the tool's example as a plan writes them: secrets are references."""
    secrets = secrets_of(tool)
    return {
        name: {"type": "secret", "path": f"env/{name.upper()}"}
        if name in secrets and not secret_references.is_meant(value)
        else value
        for name, value in tool.example.parameters.items()
    }


def problems(tool: Tool, parameters: dict[str, Any]) -> Iterator[Problem]:
    """A problem for each secret that is written down or made by a template; it names no value."""
    canonical = checker_of(tool).canonical
    secrets = secrets_of(tool)
    for name, value in parameters.items():
        own = canonical.get(name)
        if own in secrets and value is not None and not secret_references.is_meant(value):
            yield Problem(f"parameters.{own}", _REFUSED)


def step_problems(secrets: dict[str, Any]) -> Iterator[Problem]:
    """A problem for each entry of a step's `secrets` that is no reference; it names no value."""
    for name, value in secrets.items():
        fault = _REFUSED
        if secret_references.is_meant(value):
            found = secret_references.fault(value)
            if found is None:
                continue
            fault = found
        yield Problem(f"secrets.{name[:64]}", fault)
