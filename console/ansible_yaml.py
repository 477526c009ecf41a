"""Ansible inventories in YAML form, read from the nodes: no object is made of a tag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from console.ansible_groups import ALL, UNGROUPED, Group, Groups
from console.ansible_ini import priority
from console.ansible_variables import PRIORITY, Variables
from console.host_ranges import split_name
from console.inventory_model import BadFile, Found, LeftOut
from runtime import coreyaml

#: Aliases may repeat a node as often as they like; this many are looked at.
_MAX_NODES: Final = 200_000
_TEXTS: Final = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool"))
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"


def parse(text: str) -> Found:
    """The hosts of an inventory; raises BadFile."""
    try:
        root = coreyaml.compose(text)
    except ValueError as error:
        raise BadFile(str(error)) from None
    reader = _Reader()
    for name, key, node in reader.entries(root, "the inventory"):
        reader.group(name, _line(key), node, None, 1)
    return reader.groups.found()


class _Reader:
    """Walks the nodes, and counts them."""

    def __init__(self) -> None:
        self.groups = Groups()
        self._seen = 0

    def entries(self, node: Node | None, what: str) -> Iterator[tuple[str, Node, Node]]:
        """Name, key and value of each entry of a mapping; nothing where it is empty."""
        if node is None or (isinstance(node, ScalarNode) and _tag(node) == _NULL):
            return
        if not isinstance(node, MappingNode):
            raise BadFile(f"line {_line(node)}: {what} must be a mapping of names")
        names: set[str] = set()
        for key, value in node.value:
            self._seen += 1
            if self._seen > _MAX_NODES:
                raise BadFile(f"line {_line(key)}: too much is repeated by aliases")
            if not isinstance(key, ScalarNode):
                raise BadFile(f"line {_line(key)}: a name must be text")
            if key.value in names:
                raise BadFile(f"line {_line(key)}: the name {key.value[:80]!r} occurs twice")
            names.add(key.value)
            if _tag(key) == _MERGE:
                raise BadFile(f"line {_line(key)}: << is not read here; write the entries out")
            yield key.value, key, value

    def group(self, name: str, line: int, node: Node, parent: Group | None, depth: int) -> None:
        """One group with what stands below it; an alias may stand for a node that it is in."""
        if depth > coreyaml.MAX_DEPTH:
            raise BadFile(f"line {line}: groups are nested deeper than {coreyaml.MAX_DEPTH} levels")
        group = self.groups.group(name, line)
        if parent is not None:
            if name in (ALL, parent.name):
                raise BadFile(
                    f"line {line}: the group {name!r} cannot be a child of {parent.name!r}"
                )
            parent.children.add(name)
        for part, key, value in self.entries(node, f"the group {name[:80]!r}"):
            if part == "hosts":
                self._hosts(group, value)
            elif part == "children":
                for child, place, below in self.entries(value, f"children of {name[:80]!r}"):
                    self.group(child, _line(place), below, group, depth + 1)
            elif part == "vars":
                self._variables(value, group.variables, group)
            else:
                raise BadFile(
                    f"line {_line(key)}: {part[:80]!r} in the group {name[:80]!r} is not hosts, "
                    "children or vars"
                )

    def _hosts(self, group: Group, node: Node) -> None:
        for text, key, value in self.entries(node, f"hosts of {group.name[:80]!r}"):
            line = _line(key)
            names, port = split_name(text, line)
            self._seen += len(names)
            given: Variables = {}
            if port is not None:
                self.groups.set("ansible_port", port, line, given)
            self._variables(value, given, None)
            for name in names:
                # `all` is where hosts of no group stand.
                of = UNGROUPED if group.name == ALL else group.name
                self.groups.group(of, line)
                self.groups.member(name, of, line).update(given)

    def _variables(self, node: Node, into: Variables, group: Group | None) -> None:
        for name, key, value in self.entries(node, "variables"):
            line = _line(key)
            if _tag(value) in ("!vault", "!vault-encrypted"):
                why = "is encrypted by Ansible's vault: store it as a secret"
                self.groups.left_out.append(LeftOut(name, line, why))
            elif name == PRIORITY and group is not None:
                group.priority = priority(_text(value) or "", line)
            elif isinstance(value, MappingNode) and name == "tags":
                tags = {tag: _text(one) for tag, _, one in self.entries(value, "tags")}
                if None in tags.values():
                    raise BadFile(f"line {line}: tags: names and texts only")
                self.groups.set(name, {tag: text or "" for tag, text in tags.items()}, line, into)
            elif isinstance(value, SequenceNode | MappingNode):
                self.groups.set(name, None, line, into)
            else:
                self.groups.set(name, _text(value), line, into)


def _text(node: Node) -> str | None:
    """The text of a scalar as it is written, None of anything else."""
    if isinstance(node, ScalarNode) and _tag(node) in _TEXTS:
        return str(node.value)
    return None


def _tag(node: Node) -> str:
    return str(node.tag)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
