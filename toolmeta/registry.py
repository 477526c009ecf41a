"""The registry: every definition of the catalogue, read once, found by any spelling."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import ValidationError

from toolmeta.model import Tool

# The C loader is ten times as fast; where libyaml is missing the pure one reads the same.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CatalogueError(Exception):
    """A definition is wrong; the message names the file and every fault."""


def spelling(name: str) -> str:
    """The form in which names are compared: lower case, underscores."""
    return name.strip().lower().replace("-", "_")


class Registry:
    """All tools, by canonical name and alias; case and `-` or `_` make no difference."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        self._names: dict[str, Tool] = {}
        for tool in sorted(tools, key=lambda item: item.name):
            self._tools[tool.name] = tool
            for name in {spelling(item) for item in (tool.name, *tool.aliases)}:
                other = self._names.setdefault(name, tool)
                if other is not tool:
                    raise CatalogueError(f"{name} names both {other.name} and {tool.name}")

    def get(self, name: str) -> Tool | None:
        """The tool of this name or alias."""
        return self._names.get(name) or self._names.get(spelling(name))

    def suggest(self, name: str) -> str | None:
        """The canonical name that was probably meant."""
        near = difflib.get_close_matches(spelling(name[:64]), list(self._names), 1, 0.6)
        return self._names[near[0]].name if near else None

    def all(self) -> tuple[Tool, ...]:
        """Every tool, by name."""
        return tuple(self._tools.values())

    def by_domain(self) -> dict[str, tuple[Tool, ...]]:
        """Every tool, by name, per domain."""
        domains = sorted({tool.domain for tool in self._tools.values()})
        return {
            domain: tuple(tool for tool in self._tools.values() if tool.domain == domain)
            for domain in domains
        }


def read(text: str, domain: str, name: str) -> Tool:
    """One definition from its YAML; raises `CatalogueError`."""
    where = f"{domain}/{name}.yaml"
    try:
        data = yaml.load(text, Loader=_LOADER)  # noqa: S506 - one of the two safe loaders
        # Through JSON, so that nothing but JSON (a YAML date, a NaN) gets into a definition.
        tool = Tool.model_validate_json(json.dumps(data, allow_nan=False))
    except (yaml.YAMLError, ValidationError, TypeError, ValueError) as error:
        raise CatalogueError(f"{where}: {error}") from error
    if (tool.domain, tool.name) != (domain, name):
        raise CatalogueError(f"{where}: says it is {tool.domain}/{tool.name}")
    return tool


@cache
def load() -> Registry:
    """The catalogue of this installation; raises `CatalogueError` at the first wrong file."""
    tools: list[Tool] = []
    for folder in files("toolmeta").joinpath("tools").iterdir():
        if folder.is_dir():
            tools.extend(
                read(entry.read_text("utf-8"), folder.name, entry.name.removesuffix(".yaml"))
                for entry in folder.iterdir()
                if entry.name.endswith(".yaml")
            )
    return Registry(tools)
