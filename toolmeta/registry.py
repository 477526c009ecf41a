"""The registry: every definition, found by any spelling.

The catalogue is read once; tools of the operator's own are read again when they change.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cache
from typing import Final

from pydantic import ValidationError

from toolmeta import rules
from toolmeta.definitions import CatalogueError, Definition, as_json, read_all
from toolmeta.hosts import ascii_lower
from toolmeta.model import Tool
from toolmeta.own_tools import OwnTools, folders_of

#: Faults of a definition that are named.
_MOST_TOLD: Final = 10


def spelling(name: str) -> str:
    """The form in which names are compared: lower case, underscores.

    Only of ASCII: folding other letters makes ASCII of some, such as k of U+212A.
    """
    return ascii_lower(name.strip(" ")).replace("-", "_")


class Registry:
    """All tools, by canonical name and alias; case and `-` or `_` make no difference."""

    def __init__(
        self, tools: Iterable[Tool], *, test_tools: bool = True, own: OwnTools | None = None
    ) -> None:
        """Raises `CatalogueError` where two tools have one name, or an own one is wrong."""
        #: Whether plans may use the tools of the test domain, one of which runs any program.
        self.test_tools = test_tools
        #: Grows with every change of the own tools.
        self.version = 0
        self._catalogue = tuple(tools)
        self._own = own
        self._refreshing = threading.Lock()
        self._seen = None if own is None else own.stamp()
        self._use(() if own is None else own.read())

    def _use(self, definitions: Iterable[Definition]) -> None:
        own = [(checked(each), each.where) for each in definitions]
        tools: dict[str, Tool] = {}
        names: dict[str, tuple[Tool, str | None]] = {}
        catalogue = ((tool, None) for tool in self._catalogue)
        for tool, file in sorted((*catalogue, *own), key=lambda item: item[0].name):
            tools[tool.name] = tool
            for name in {spelling(item) for item in (tool.name, *tool.aliases)}:
                other = names.setdefault(name, (tool, file))
                if other[0] is not tool:
                    both = f"{_of(*other)} and {_of(tool, file)}"
                    raise CatalogueError(f"{name} names both {both}")
        # Each is replaced as a whole, so that other threads may read them.
        self._tools, self._names = tools, {name: one[0] for name, one in names.items()}
        self._own_names = frozenset(tool.name for tool, _ in own)

    def refresh(self) -> bool:
        """Read the own tools again if a file has changed; whether there are others now.

        Raises `CatalogueError`, once per change; what was read before stays. For any thread.
        """
        if self._own is None:
            return False
        with self._refreshing:
            stamp = self._own.stamp()
            if stamp == self._seen:
                return False
            self._seen = stamp
            self._use(self._own.read())
            self.version += 1
            return True

    def own_digest(self, tool: Tool) -> str | None:
        """Names the definition of an own tool; None for one of the catalogue."""
        return tool.digest if tool.name in self._own_names else None

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
    return checked(Definition(domain, name, as_json(text, domain, name)))


@cache
def load(*, test_tools: bool = True, own: str | None = None) -> Registry:
    """The catalogue of this installation; raises `CatalogueError` at the first wrong file.

    Without `test_tools` the tools of the test domain are known, and not served. `own` names the
    folders of the operator's own tools, separated as in PATH.
    """
    folders = None if own is None else OwnTools(*folders_of(own))
    tools = (checked(definition) for definition in read_all())
    return Registry(tools, test_tools=test_tools, own=folders)


def checked(definition: Definition) -> Tool:
    """The tool of a definition; raises `CatalogueError` that names the file and every fault."""
    where = definition.where
    try:
        tool = Tool.model_validate_json(definition.text)
    except ValidationError as error:
        raise CatalogueError(f"{where}: {_told(error)}") from None
    faults = list(rules.faults(tool))
    if faults:
        raise CatalogueError(f"{where}: {'; '.join(faults)}")
    if (tool.domain, tool.name) != (definition.domain, definition.name):
        raise CatalogueError(f"{where}: states the name {tool.domain}/{tool.name}")
    return tool


def _of(tool: Tool, file: str | None) -> str:
    return f"{tool.name} of the catalogue" if file is None else f"{tool.name} in {file}"


def _told(error: ValidationError) -> str:
    """Each field with what is wrong with it, in one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, one['loc'])) or 'definition'}: {one['msg']}" for one in found]
    more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return "; ".join(told[:_MOST_TOLD]) + more
