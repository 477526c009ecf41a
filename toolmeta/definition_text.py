"""The YAML of a definition: what YAML 1.1 reads as something else than it looks is refused.

There `on` and `No` are booleans, `0644` and `12:30` are numbers, a comma in the plain text of a
flow mapping begins a key without a value, and the second of two equal keys wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|[+-]?\.(inf|nan)")
_MAX_DEPTH: Final = 64
#: The scalars that JSON has too, by the end of their tag.
_PLAIN: Final = frozenset({"bool", "int", "float", "null", "str"})


class Misleading(ValueError):
    """A word of the text is not what it looks like; the message has its line."""


def read(text: str) -> Any:
    """The document as plain objects; raises yaml.YAMLError or Misleading."""
    # The C loader is ten times as fast; where libyaml is missing the pure one reads the same.
    kind: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _bound_depth(text, kind)
    loader = kind(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        for fault in _faults(loader, root):
            raise Misleading(fault)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _bound_depth(text: str, kind: Any) -> None:
    """Raises Misleading where the text is nested so deep that composing it, which goes by
    recursion, could run out of stack."""
    depth = 0
    for event in yaml.parse(text, Loader=kind):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise Misleading(f"{_line(event)}: nested deeper than {_MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _faults(loader: Any, root: yaml.Node) -> Iterator[str]:
    waiting = [root]
    # An alias is the same node again, and may stand within itself.
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _keys(node)
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        else:
            yield from _scalar(loader, node)


def _keys(mapping: yaml.MappingNode) -> Iterator[str]:
    names: set[str] = set()
    for key, value in mapping.value:
        kind = _kind(key)
        if kind == "merge":
            yield f"{_line(key)}: << is a merge: write the entries themselves"
        elif kind != "str":
            yield f"{_line(key)}: {_shown(key)} is no text: put the key in quotes"
        elif key.value in names:
            yield f"{_line(key)}: {key.value} stands there twice"
        elif _kind(value) == "null" and not value.value:
            yield f"{_line(key)}: {key.value} has no value; text with a comma stands in quotes"
        names.add(str(key.value))


def _scalar(loader: Any, node: yaml.Node) -> Iterator[str]:
    kind, text = _kind(node), str(node.value)
    if kind not in _PLAIN:
        yield f"{_line(node)}: {text} is a {kind}: put it in quotes"
    elif kind == "bool" and text not in ("true", "false"):
        meant = "true" if loader.construct_object(node) else "false"
        yield f"{_line(node)}: {text} is {meant}: put it in quotes, or write {meant}"
    elif kind == "null" and text not in ("null", ""):
        yield f"{_line(node)}: {text} is null: put it in quotes, or write null"
    elif kind in ("int", "float") and not _NUMBER.fullmatch(text):
        number = loader.construct_object(node)
        yield f"{_line(node)}: {text} is the number {number}: put it in quotes, or write that"


def _kind(node: yaml.Node) -> str:
    return str(node.tag).rpartition(":")[2]


def _shown(key: yaml.Node) -> str:
    return str(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"


def _line(node: yaml.Node | yaml.Event) -> str:
    mark = node.start_mark
    return f"line {mark.line + 1}" if mark is not None else "somewhere"
