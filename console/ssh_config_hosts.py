"""Hosts of an ssh_config: names without wild cards, with what all blocks say of them; pure.

As OpenSSH has it: the first value that is obtained counts. `Match` and `Include` are left out: one
may run programs, the other reads further files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final

from console.inventory_model import (
    MAX_HOSTS,
    BadFile,
    Found,
    HostFound,
    LeftOut,
    Login,
    address,
    host_name,
    jumps,
    login,
    port,
    templated,
)

_TAKEN: Final = frozenset({"hostname", "port", "user", "proxyjump"})
#: Patterns of one file: every host is compared with each.
_MAX_PATTERNS: Final = 2_000
_MAX_NEGATED: Final = 100


@dataclass(slots=True)
class _Block:
    """What stands below one `Host` line, or above the first."""

    line: int
    patterns: list[str] = field(default_factory=list)
    options: dict[str, tuple[str, int]] = field(default_factory=dict)
    matchers: list[tuple[bool, re.Pattern[str]]] = field(default_factory=list)

    def matches(self, name: str) -> bool:
        """Whether its options are those of this host."""
        found = [negated for negated, pattern in self.matchers if pattern.fullmatch(name)]
        return bool(found) and not any(found)


def parse(text: str) -> Found:
    """The hosts of a configuration; raises BadFile."""
    out: list[LeftOut] = []
    blocks = _blocks(text, out)
    names: dict[str, int] = {}
    for block in blocks:
        for pattern in block.patterns:
            if not re.search(r"[*?!]", pattern):
                names.setdefault(host_name(pattern, block.line), block.line)
    if len(names) > MAX_HOSTS:
        raise BadFile(f"line {names.popitem()[1]}: more than {MAX_HOSTS} hosts")
    wild = [block for block in blocks if any(re.search(r"[*?!]", one) for one in block.patterns)]
    exact: dict[str, list[_Block]] = {}
    for block in blocks:
        for pattern in set(block.patterns):
            exact.setdefault(pattern.lower().rstrip("."), []).append(block)
    found = []
    for name, line in names.items():
        of = {id(one): one for one in exact.get(name, ()) if one not in wild}
        of |= {id(one): one for one in wild if one.matches(name)}
        options: dict[str, tuple[str, int]] = {}
        for block in sorted(of.values(), key=lambda one: one.line):
            options = block.options | options
        found.append(_host(name, line, options, out))
    return Found(found, out)


def _blocks(text: str, out: list[LeftOut]) -> list[_Block]:
    first = _Block(0, ["*"])
    blocks, now, number = [first], first, 0
    ignored = False
    for line, raw in enumerate(text.split("\n"), 1):
        written = raw.strip()
        if not written or written.startswith("#"):
            continue
        parts = re.fullmatch(r"(\S+?)(?:\s*=\s*|\s+)(.*)", written)
        if parts is None:
            raise BadFile(f"line {line}: expected an option and its value")
        option, value = parts[1].lower(), parts[2]
        try:
            words = shlex.split(value, comments=True)
        except ValueError:
            raise BadFile(f"line {line}: a quotation mark is not closed") from None
        if option == "host":
            now, ignored = _Block(line, words), False
            blocks.append(now)
            number += len(words)
            if number > _MAX_PATTERNS + MAX_HOSTS:
                raise BadFile(f"line {line}: too many names and patterns")
        elif option == "match":
            ignored = True
            out.append(LeftOut("Match", line, "is not evaluated, with all that stands below it"))
        elif option == "include":
            out.append(LeftOut("Include", line, "is not followed: import that file too"))
        elif ignored:
            continue
        elif option not in _TAKEN:
            out.append(LeftOut(parts[1], line, "is no field of an asset"))
        elif not words:
            raise BadFile(f"line {line}: {parts[1]} has no value")
        else:
            now.options.setdefault(option, (words[0], line))
    _compile(blocks)
    return blocks


def _compile(blocks: list[_Block]) -> None:
    wild = 0
    for block in blocks:
        for pattern in block.patterns:
            wild += bool(re.search(r"[*?!]", pattern))
            if wild > _MAX_PATTERNS or pattern.count("*") > _MAX_NEGATED:
                raise BadFile(f"line {block.line}: too many patterns")
            # fnmatch knows sets in brackets too, which ssh does not.
            plain = pattern.lstrip("!").lower().replace("[", "[[]")
            block.matchers.append((pattern.startswith("!"), re.compile(translate(plain))))


def _host(
    name: str, line: int, options: Mapping[str, tuple[str, int]], out: list[LeftOut]
) -> HostFound:
    facts: dict[str, str] = {}
    connection: dict[str, Login] = {}
    for option, (value, where) in options.items():
        if templated([value]) or (option != "hostname" and "%" in value):
            out.append(LeftOut(option, where, "is a template, which is not evaluated"))
        elif option == "hostname":
            facts, place = address(value.replace("%h", name).replace("%%", "%"), where, option)
            connection |= place
        elif option == "port":
            connection["port"] = port(value, where, option)
        elif option == "user":
            connection["user"] = login(value, where, option)
        else:
            hosts, users = jumps(value, where, option)
            connection["jump"] = list(hosts)
            if users:
                out.append(
                    LeftOut("ProxyJump", where, "names a user: give that host one of its own")
                )
    return HostFound(name, line, facts, connection)
