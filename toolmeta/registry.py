"""The registry: every definition of the catalogue, read once, found by any spelling."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from pydantic import ValidationError

from toolmeta import rules
from toolmeta.definitions import CatalogueError, Definition, as_json, read_all
from toolmeta.hosts import ascii_lower
from toolmeta.model import Tool


def spelling(name: str) -> str:
    """The form in which names are compared: lower case, underscores.

    Only of ASCII: folding other letters makes ASCII of some, such as k of U+212A.
    """
    return ascii_lower(name.strip(" ")).replace("-", "_")


class Registry:
    """All tools, by canonical name and alias; case and `-` or `_` make no difference."""

    def __init__(self, tools: Iterable[Tool], *, test_tools: bool = True) -> None:
        #: Whether plans may use the tools of the test domain, one of which runs any program.
        self.test_tools = test_tools
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
        import difflib

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
    return _checked(Definition(domain, name, as_json(text, domain, name)))


@cache
def load(*, test_tools: bool = True) -> Registry:
    """The catalogue of this installation; raises `CatalogueError` at the first wrong file.

    Without `test_tools` the tools of the test domain are known, and not served.
    """
    return Registry((_checked(definition) for definition in read_all()), test_tools=test_tools)


def _checked(definition: Definition) -> Tool:
    where = f"{definition.domain}/{definition.name}.yaml"
    try:
        tool = Tool.model_validate_json(definition.text)
    except ValidationError as error:
        raise CatalogueError(f"{where}: {error}") from error
    faults = list(rules.faults(tool))
    if faults:
        raise CatalogueError(f"{where}: {'; '.join(faults)}")
    if (tool.domain, tool.name) != (definition.domain, definition.name):
        raise CatalogueError(f"{where}: states the name {tool.domain}/{tool.name}")
    return tool
