"""The pipeline of a definition: commands with bound parameters.

Arguments of a call: `cmdlet` (a name) or `script` (text of the definition, except for the tools
that run a script of the user); `parameters`, bound by name and never part of a text;
`expand`, `properties` and `limit` (a Select-Object each); `as_text` (Out-String at the end); for
the output `items`, `value`, `first`, `shape`, `rename`, `keep`, `ignore` and `needs`.

A parameter `{"as": "datetime", "value": …}` is sent with that type; without a value it is left
out. Sources: [MS-PSRP] 2.2.5.1 for the types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

from pypsrp.powershell import PowerShell
from pypsrp.serializer import TaggedValue

_CMDLET: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*-[A-Za-z][A-Za-z0-9]*")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_AS: Final = frozenset({"datetime"})


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the pipeline: the name of a cmdlet, or a script with a `param` block."""

    text: str
    is_script: bool
    parameters: dict[str, Any]


def commands_of(arguments: dict[str, Any]) -> tuple[Command, ...]:
    """The pipeline of a call; raises ValueError where the arguments do not make one."""
    script, cmdlet = arguments.get("script"), arguments.get("cmdlet")
    parameters = _named(arguments.get("parameters") or {})
    if isinstance(script, str) and script.strip():
        first = Command(script, True, parameters)
    elif isinstance(cmdlet, str) and _CMDLET.fullmatch(cmdlet):
        first = Command(cmdlet, False, parameters)
    else:
        raise ValueError("there is neither a cmdlet nor a script")
    found = [first]
    if arguments.get("expand"):
        found.append(Command("Select-Object", False, {"ExpandProperty": arguments["expand"]}))
    select: dict[str, Any] = {}
    if arguments.get("properties"):
        select["Property"] = list(arguments["properties"])
    if arguments.get("limit") is not None:
        # One more than the limit, to know whether there are more.
        select["First"] = int(arguments["limit"]) + 1
    if select:
        found.append(Command("Select-Object", False, select))
    if arguments.get("as_text"):
        found.append(Command("Out-String", False, {"Stream": True, "Width": 4_096}))
    return tuple(found)


def _named(parameters: Any) -> dict[str, Any]:
    if not isinstance(parameters, dict):
        raise ValueError("the parameters are no object")
    named: dict[str, Any] = {}
    for name, value in parameters.items():
        if not _NAME.fullmatch(str(name)):
            raise ValueError(f"{str(name)[:40]!r} is no name of a PowerShell parameter")
        kept = _present(value)
        if kept is not None:
            named[name] = kept
    return named


def _present(value: Any) -> Any:
    """The value without typed entries that have no value."""
    if not isinstance(value, dict):
        return value
    if value.get("as") in _AS and value.get("value") is None:
        return None
    kept = {name: _present(item) for name, item in value.items()}
    return {name: item for name, item in kept.items() if item is not None}


def add(shell: PowerShell, commands: tuple[Command, ...]) -> None:
    """Put the commands into a pipeline, every value as a parameter of its own."""
    for command in commands:
        if command.is_script:
            shell.add_script(command.text)
        else:
            shell.add_cmdlet(command.text)
        for name, value in command.parameters.items():
            shell.add_parameter(name, typed(value))


def typed(value: Any) -> Any:
    """A JSON value as pypsrp serialises it: whole numbers and fractions in full width."""
    if isinstance(value, dict):
        if value.get("as") == "datetime" and value.keys() == {"as", "value"}:
            # pypsrp writes no dates of its own, but takes ready elements.
            element = ElementTree.Element("DT")
            element.text = str(value["value"])
            return element
        return {str(name): typed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        return TaggedValue("I64", value)
    if isinstance(value, float):
        return TaggedValue("Db", value)
    return value
