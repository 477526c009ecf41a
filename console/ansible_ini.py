"""Ansible inventories in INI form. Values are taken as text, never evaluated; pure."""

from __future__ import annotations

import re
import shlex
from typing import Final

from console.ansible_groups import ALL, UNGROUPED, Group, Groups
from console.ansible_variables import PRIORITY, Variables
from console.host_ranges import split_name
from console.inventory_model import BadFile, Found

_SECTION: Final = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?")


def parse(text: str) -> Found:
    """The hosts of an inventory; raises BadFile."""
    groups = Groups()
    group = groups.group(UNGROUPED, 1)
    kind = "hosts"
    #: Children and variables may stand before the group itself.
    named: dict[str, int] = {}
    for line, raw in enumerate(text.split("\n"), 1):
        written = raw.strip()
        if not written or written[0] in "#;":
            continue
        section = _SECTION.fullmatch(written)
        if section is not None and (section[2] or ":" not in section[1]):
            group, kind = groups.group(section[1], line), section[2] or "hosts"
            if kind not in ("hosts", "children", "vars"):
                raise BadFile(f"line {line}: [{section[1]}:{kind}] is not :children or :vars")
            if kind != "vars":
                named.pop(section[1], None)
        elif kind == "vars":
            _variable(groups, group, written, line)
        elif kind == "children":
            child = written.split("#")[0].strip()
            if not groups.known(child):
                named[child] = line
            groups.group(child, line)
            if child in (ALL, group.name):
                raise BadFile(
                    f"line {line}: the group {child!r} cannot be a child of {group.name!r}"
                )
            group.children.add(child)
        else:
            _host(groups, group, written, line)
    for name, line in named.items():
        raise BadFile(f"line {line}: the group {name!r} is a child, and there is no [{name}]")
    return groups.found()


def _variable(groups: Groups, group: Group, written: str, line: int) -> None:
    name, equals, value = (part.strip() for part in written.partition("="))
    if not equals or not name:
        raise BadFile(f"line {line}: expected name=value in [{group.name}:vars]")
    value = _unquoted(value)
    if name == PRIORITY:
        group.priority = priority(value, line)
    else:
        groups.set(name, value, line, group.variables)


def _host(groups: Groups, group: Group, written: str, line: int) -> None:
    try:
        words = shlex.split(written, comments=True)
    except ValueError:
        raise BadFile(f"line {line}: a quotation mark is not closed") from None
    names, port = split_name(words[0], line)
    given: Variables = {}
    if port is not None:
        groups.set("ansible_port", port, line, given)
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or not key:
            # The word may be a password after a space, so it is not shown.
            raise BadFile(f"line {line}: expected name=value behind the host {words[0][:80]!r}")
        groups.set(key, _unquoted(value), line, given)
    for name in names:
        groups.member(name, group.name, line).update(given)


def priority(text: str, line: int) -> int:
    """The priority of a group; raises BadFile."""
    if re.fullmatch(r"-?[0-9]{1,6}", text) is None:
        raise BadFile(f"line {line}: {PRIORITY} is a number")
    return int(text)


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
