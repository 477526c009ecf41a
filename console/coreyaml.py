"""YAML 1.2 core schema, safely: only what looks like JSON is anything but text.

PyYAML reads YAML 1.1, in which `no` is false, `12:30` is 750, `0644` is 420 and a date is an
object that JSON has no form for. It also lets the second of two equal keys win.
Source: YAML 1.2.2, section 10.3.2.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Final

import yaml

#: Enough for every sensible plan, and far from what recursion can bear.
MAX_DEPTH: Final = 64
MAX_ALIASES: Final = 1_000

_TAG: Final = "tag:yaml.org,2002:"
_WHOLE: Final = r"[-+]?(?:0|[1-9][0-9]*)"
_REAL: Final = rf"(?:{_WHOLE}\.[0-9]*|[-+]?\.[0-9]+|{_WHOLE})(?:[eE][-+]?[0-9]+)?"


class CoreLoader(yaml.CSafeLoader):
    """A safe loader whose mappings have text keys, each once."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that occurs twice, and take every key as it is written."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem("a key must be text", key)
            if key.value in seen:
                raise _problem(f"the key {key.value!r} occurs twice", key)
            seen.add(key.value)
            if key.tag != f"{_TAG}merge":
                key.tag = f"{_TAG}str"
        return super().construct_mapping(node, deep)


for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("int", _WHOLE, [*"-+0123456789"]),
    ("float", rf"{_REAL}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", [*"-+0123456789."]),
    ("merge", r"<<", ["<"]),
):
    CoreLoader.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_pattern})$"), _first)


def _problem(message: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, message, node.start_mark)


def load(text: str) -> Any:
    """The first and only document in `text`; raises ValueError with the place and the problem."""
    try:
        _measure(text)
        return yaml.load(text, Loader=CoreLoader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        words = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{where}{words or 'malformed'}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from None


def _measure(text: str) -> None:
    """Refuse depth and aliases on the flat stream of events, before anything is built of them."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=CoreLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        if aliases > MAX_ALIASES:
            raise ValueError(f"more than {MAX_ALIASES} aliases")
