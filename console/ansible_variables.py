"""Variables of Ansible inventories: which the inventory takes, and why it leaves the others out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from console.inventory_model import (
    FACTS,
    BadFile,
    HostFound,
    LeftOut,
    Login,
    address,
    fact,
    jumps,
    login,
    port,
    templated,
)

#: Other names of what has an `ansible_` name; source: Ansible, connection variables.
_ALIASES: Final = {"ansible_ssh_host": "ansible_host", "ansible_ssh_port": "ansible_port",
                   "ansible_ssh_user": "ansible_user", "type": "asset_type"}  # fmt: skip
_ARGUMENTS: Final = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
#: How Ansible connects, and what `metadata.connection.type` says of it; None is the rule.
_CONNECTIONS: Final = {
    "ssh": None, "smart": None, "paramiko": None, "paramiko_ssh": None, "local": "local",
    "winrm": "powershell", "psrp": "powershell",
}  # fmt: skip
_TAKEN: Final = frozenset(
    {"ansible_host", "ansible_port", "ansible_user", "ansible_connection", "tags", "ip_address",
     *_ARGUMENTS, *FACTS}
)  # fmt: skip
_SECRET: Final = re.compile(
    r"pass(?:wd|word|phrase)?(?:$|_)|passw|secret|token|private_key|credential|vault|api_?key",
    re.IGNORECASE,
)
REMEDY: Final = (
    "is a secret, which the inventory never holds: store it as a secret and name it by a reference "
    "in metadata.connection"
)
NOT_KNOWN: Final = "is no field of an asset"
#: The group variable that decides between groups of one depth.
PRIORITY: Final = "ansible_group_priority"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: a text, or names and texts; and where it stands."""

    value: str | Mapping[str, str]
    line: int


Variables = dict[str, Variable]


def is_secret(name: str) -> bool:
    """Whether a variable or column of this name holds a secret."""
    return _SECRET.search(name) is not None


def reason(name: str, value: str | Mapping[str, str] | None) -> str | None:
    """Why a variable is left out, None where it is taken; `value` is None where it is no text."""
    if is_secret(name):
        return REMEDY
    if name not in _TAKEN and _ALIASES.get(name) not in _TAKEN:
        return NOT_KNOWN
    if value is None or (isinstance(value, Mapping) and name != "tags"):
        return "is no text"
    if isinstance(value, str) and name == "tags":
        return "is no mapping of names to texts"
    if templated([*value, *value.values()] if isinstance(value, Mapping) else [value]):
        return "is a template, which is not evaluated"
    return None


def take(
    name: str, value: str | Mapping[str, str] | None, line: int, into: Variables, out: list[LeftOut]
) -> None:
    """Keep a variable under the name that counts, or note why it is left out."""
    why = reason(name, value)
    if why is not None or value is None:
        out.append(LeftOut(name, line, why or NOT_KNOWN))
    else:
        into[_ALIASES.get(name, name)] = Variable(value, line)


def host(
    name: str, line: int, given: Variables, groups: tuple[str, ...], out: list[LeftOut]
) -> HostFound:
    """What these variables say of a host; raises BadFile."""
    facts: dict[str, str] = {}
    connection: dict[str, Login] = {}
    tags: dict[str, str] = {}
    for key, variable in given.items():
        value, where = variable.value, variable.line
        if not isinstance(value, str):
            tags = dict(value)
        elif key == "ansible_host":
            more, place = address(value, where, key)
            facts |= more
            connection |= place
        elif key == "ip_address":
            facts |= address(value, where, key)[0]
        elif key == "ansible_port":
            connection["port"] = port(value, where, key)
        elif key == "ansible_user":
            connection["user"] = login(value, where, key)
        elif key == "ansible_connection":
            _connected(value, where, facts, connection, out)
        elif key in _ARGUMENTS:
            _arguments(key, value, where, connection, out)
        elif value:
            facts[key] = fact(key, value, where)
    return HostFound(name, line, facts, connection, tags, groups)


def _connected(
    value: str, line: int, facts: dict[str, str], connection: dict[str, Login], out: list[LeftOut]
) -> None:
    plugin = value.rpartition(".")[2].lower()
    if plugin not in _CONNECTIONS:
        out.append(LeftOut("ansible_connection", line, "is no connection that steps have"))
        return
    kind = _CONNECTIONS[plugin]
    if kind is not None:
        connection["type"] = kind
    if kind == "powershell":
        facts.setdefault("os_type", "windows")


def _arguments(
    name: str, value: str, line: int, connection: dict[str, Login], out: list[LeftOut]
) -> None:
    """Of the options of ssh the hosts to go through; the others are left out."""
    try:
        words = shlex.split(value)
    except ValueError:
        raise BadFile(f"line {line}: {name}: a quotation mark is not closed") from None
    found: str | None = None
    rest = False
    while words:
        word = words.pop(0)
        if word in ("-o", "-J") and words:
            word += words.pop(0)
        option = re.fullmatch(r"-J(.+)|-o\s*(?i:proxyjump)\s*[=\s]\s*(.+)", word)
        if option is None:
            rest = True
        else:
            found = found or option[1] or option[2]
    if found is not None:
        hosts, users = jumps(found, line, name)
        connection["jump"] = list(hosts)
        rest = rest or users
    if rest:
        out.append(LeftOut(name, line, "holds more than hosts to go through, which alone is taken"))
