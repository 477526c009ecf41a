"""Groups of an Ansible inventory: who is in which, and which variable counts; pure.

As Ansible has it: `all`, then parents before children, within one depth by
`ansible_group_priority` and name; the host's own variables last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from console.ansible_variables import Variables, host, take
from console.inventory_model import MAX_HOSTS, BadFile, Found, LeftOut, host_name

ALL: Final = "all"
UNGROUPED: Final = "ungrouped"
MAX_GROUPS: Final = 1_000
#: Ranges may name each host again and again.
_MAX_MENTIONS: Final = 100_000


@dataclass(slots=True)
class Group:
    """A group as the file states it, in one place or several."""

    name: str
    line: int
    variables: Variables = field(default_factory=dict)
    children: set[str] = field(default_factory=set)
    priority: int = 1


@dataclass(slots=True)
class _Member:
    line: int
    variables: Variables = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)


class Groups:
    """All of an inventory, filled while the file is read."""

    def __init__(self) -> None:
        """Only the group `all`."""
        self._groups = {ALL: Group(ALL, 1)}
        self._hosts: dict[str, _Member] = {}
        self._mentions = 0
        self.left_out: list[LeftOut] = []

    def group(self, name: str, line: int) -> Group:
        """The group of this name; raises BadFile where they are too many."""
        if name not in self._groups:
            if len(self._groups) >= MAX_GROUPS:
                raise BadFile(f"line {line}: more than {MAX_GROUPS} groups")
            if not 0 < len(name) <= 200 or not name.isprintable() or "{{" in name or "}}" in name:
                raise BadFile(f"line {line}: {name[:80]!r} is no name of a group")
            self._groups[name] = Group(name, line)
        return self._groups[name]

    def known(self, name: str) -> bool:
        """Whether the file has said anything of the group."""
        return name in self._groups

    def member(self, text: str, group: str, line: int) -> Variables:
        """Put a host in a group; returns its own variables. Raises BadFile."""
        name = host_name(text, line)
        self._mentions += 1
        if self._mentions > _MAX_MENTIONS:
            raise BadFile(f"line {line}: hosts are named more than {_MAX_MENTIONS} times")
        if name not in self._hosts:
            if len(self._hosts) >= MAX_HOSTS:
                raise BadFile(f"line {line}: more than {MAX_HOSTS} hosts; import it in parts")
            self._hosts[name] = _Member(line)
        self._hosts[name].groups.add(group)
        return self._hosts[name].variables

    def set(
        self, name: str, value: str | dict[str, str] | None, line: int, into: Variables
    ) -> None:
        """Give a host or group a variable, or note why it is left out."""
        take(name, value, line, into, self.left_out)

    def found(self) -> Found:
        """Every host with the variables that count for it; raises BadFile for a cycle."""
        depths, above = self._order()
        hosts = []
        for name, member in self._hosts.items():
            of = {ALL}.union(member.groups, *(above[group] for group in member.groups))
            ordered = sorted(of, key=lambda one: (depths[one], self._groups[one].priority, one))
            given: Variables = {}
            for group in ordered:
                given |= self._groups[group].variables
            given |= member.variables
            shown = tuple(sorted(of - {ALL, UNGROUPED}))
            hosts.append(host(name, member.line, given, shown, self.left_out))
        return Found(hosts, self.left_out)

    def _order(self) -> tuple[dict[str, int], dict[str, frozenset[str]]]:
        """The depth of every group, and the groups above it."""
        parents: dict[str, set[str]] = {name: set() for name in self._groups}
        for group in self._groups.values():
            for child in group.children:
                parents[child].add(group.name)
        waiting = {name: len(of) for name, of in parents.items()}
        free = [name for name, number in waiting.items() if not number]
        depths = dict.fromkeys(self._groups, 1) | {ALL: 0}
        above: dict[str, frozenset[str]] = {}
        for name in free:
            of = parents[name]
            above[name] = frozenset(of).union(*(above[parent] for parent in of))
            if of:
                depths[name] = 1 + max(depths[parent] for parent in of)
            for child in sorted(self._groups[name].children):
                waiting[child] -= 1
                if not waiting[child]:
                    free.append(child)
        if len(above) < len(self._groups):
            left = min(
                (g for g in self._groups if g not in above), key=lambda g: self._groups[g].line
            )
            line = self._groups[left].line
            raise BadFile(
                f"line {line}: the group {left!r} is among its own children, or below them"
            )
        return depths, above
