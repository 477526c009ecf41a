"""Plans in YAML 1.2, read by ruamel.yaml: every plain scalar that is not a JSON literal is text.

ruamel.yaml's own forms are narrowed: it reads dates, 1_000 and 0644 as numbers and dates, which
would change the content of a plan, and allows two equal keys in a mapping that merges another one.
Source of the forms: YAML 1.2.2, section 10.2 (the JSON schema, with the spellings of 10.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.resolver import BaseResolver
from ruamel.yaml.tag import Tag

#: Enough for every sensible plan, and far below the recursion limit.
MAX_DEPTH: Final = 64
MAX_ALIASES: Final = 1_000
#: Of one mapping, with what it merges; merging merged mappings multiplies them.
MAX_MERGED: Final = 10_000

_TAG: Final = "tag:yaml.org,2002:"
_WHOLE: Final = r"[-+]?(?:0|[1-9][0-9]*)"
_REAL: Final = rf"(?:{_WHOLE}\.[0-9]*|[-+]?\.[0-9]+|{_WHOLE})(?:[eE][-+]?[0-9]+)?"
_SCALARS: Final = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", "~nN"),
    "int": (_WHOLE, "-+0123456789"),
    "float": (rf"{_REAL}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+0123456789."),
    "merge": (r"<<", "<"),
}


class _Resolver(BaseResolver):
    """Which plain scalars are not text."""

    #: The version that a `%YAML` line names makes no difference.
    processing_version = (1, 2)
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, version: None = None, loader: Any = None) -> None:
        super().__init__(loader)


for _kind, (_pattern, _first) in _SCALARS.items():
    for _character in [*_first, *([""] if _kind == "null" else [])]:
        _Resolver.yaml_implicit_resolvers.setdefault(_character, []).append(
            (_TAG + _kind, re.compile(rf"^(?:{_pattern})$"))
        )


class _Composer(Composer):
    """Refuses depth and aliases before any object is constructed."""

    _depth = 0
    _aliases = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if self.parser.check_event(AliasEvent):
            self._aliases += 1
            if self._aliases > MAX_ALIASES:
                raise ValueError(f"more than {MAX_ALIASES} aliases")
        # A scalar may be in the deepest collection.
        if self._depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        self._depth += 1
        try:
            found: Node | None = super().compose_node(parent, index)
            return found
        finally:
            self._depth -= 1


class _Constructor(SafeConstructor):
    """Mappings have text keys, as they are written, each once."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise ConstructorError(None, None, "a key must be text", key.start_mark)
            if key.value in seen:
                problem = f"the key {key.value!r} occurs twice"
                raise ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
            if key.tag != f"{_TAG}merge":
                key.ctag = Tag(suffix=f"{_TAG}str")
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MAX_MERGED:
            problem = f"merges more than {MAX_MERGED} entries"
            raise ConstructorError(None, None, problem, node.start_mark)


def load(text: str) -> Any:
    """The first and only document in `text`; raises ValueError with the place and the problem."""
    return _read(lambda reader: reader.load(text))


def compose(text: str) -> Node | None:
    """The nodes of the only document in `text`, with their lines and tags; of no tag an object is
    made. Raises ValueError as `load` does."""
    found: Node | None = _read(lambda reader: reader.compose(text))
    return found


def _read(read: Callable[[YAML], Any]) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.Resolver, reader.Composer, reader.Constructor = _Resolver, _Composer, _Constructor
    try:
        return read(reader)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        words = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{where}{words or 'malformed'}") from None
    except YAMLError as error:
        raise ValueError(f"not YAML: {error}") from None
