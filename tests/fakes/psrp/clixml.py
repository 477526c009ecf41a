"""CLIXML of the fake: bound parameters read, objects written; independent of pypsrp."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

_UNIT = re.compile("_x([0-9A-Fa-f]{4})_")


@dataclass(frozen=True)
class Enumeration:
    """A .NET enumeration value."""

    type: str
    name: str
    number: int


@dataclass(frozen=True)
class Typed:
    """A value with the CLIXML tag that it has, such as DT, TS or U64."""

    tag: str
    text: str


@dataclass(frozen=True)
class Thing:
    """An object with properties, as a cmdlet gives it."""

    type: str
    properties: dict[str, Any] = field(default_factory=dict)
    shown: str | None = None


def parameters_of(text: str) -> tuple[list[dict[str, Any]], ElementTree.Element]:
    """The commands of a CREATE_PIPELINE message: name, is_script and bound parameters."""
    root = ElementTree.fromstring(text)
    shell = root.find("MS/Obj[@N='PowerShell']")
    assert shell is not None
    extra = shell.find("MS/Obj[@N='ExtraCmds']/LST")
    assert extra is None or len(extra) <= 1, "the fake knows one statement"
    commands = []
    for command in shell.findall("MS/Obj[@N='Cmds']/LST/Obj"):
        bound: dict[str, Any] = {}
        for argument in command.findall("MS/Obj[@N='Args']/LST/Obj/MS"):
            pair = {part.get("N"): read(part) for part in argument}
            name = str(pair["N"]).removeprefix("-").removesuffix(":")
            bound[name] = pair["V"]
        commands.append(
            {
                "name": _text(command.findtext("MS/S[@N='Cmd']")),
                "is_script": command.findtext("MS/B[@N='IsScript']") == "true",
                "parameters": bound,
            }
        )
    return commands, root


def read(element: ElementTree.Element) -> Any:
    """A parameter's value; types that JSON does not have stay visible as `Typed`."""
    match element.tag:
        case "Nil":
            return None
        case "S":
            return _text(element.text)
        case "B":
            return element.text == "true"
        case "I32" | "I64":
            return int(element.text or "")
        case "Db":
            return float(element.text or "")
        case "Obj":
            inner = element.find("LST")
            if inner is not None:
                return [read(part) for part in inner]
            entries = element.findall("DCT/En")
            pairs = [{part.get("N"): read(part) for part in entry} for entry in entries]
            return {pair["Key"]: pair["Value"] for pair in pairs}
    return Typed(element.tag, element.text or "")


def _text(text: str | None) -> str:
    units = re.split(_UNIT, text or "")
    raw = b"".join(
        bytes.fromhex(part) if index % 2 else part.encode("utf-16-be")
        for index, part in enumerate(units)
    )
    return raw.decode("utf-16-be")


class Writer:
    """Writes one object; references count within it."""

    def __init__(self) -> None:
        self._next = 0

    def write(self, value: Any, name: str | None = None) -> str:
        """The element of a value."""
        at = f" N={quoteattr(name)}" if name is not None else ""
        match value:
            case None:
                return f"<Nil{at} />"
            case bool():
                return f"<B{at}>{str(value).lower()}</B>"
            case str():
                return f"<S{at}>{_escaped(value)}</S>"
            case int():
                tag = "I32" if -(2**31) <= value < 2**31 else "I64"
                return f"<{tag}{at}>{value}</{tag}>"
            case float():
                return f"<Db{at}>{value!r}</Db>"
            case Typed():
                return f"<{value.tag}{at}>{_escaped(value.text)}</{value.tag}>"
            case Enumeration():
                types: tuple[str, ...] = (
                    value.type, "System.Enum", "System.ValueType", "System.Object"
                )  # fmt: skip
                body = f"<ToString>{_escaped(value.name)}</ToString><I32>{value.number}</I32>"
                return self._object(at, types, body)
            case list():
                items = "".join(map(self.write, value))
                types = ("System.Object[]", "System.Array", "System.Object")
                return self._object(at, types, f"<LST>{items}</LST>")
            case dict():
                entries = "".join(
                    f"<En>{self.write(key, 'Key')}{self.write(item, 'Value')}</En>"
                    for key, item in value.items()
                )
                types = ("System.Collections.Hashtable", "System.Object")
                return self._object(at, types, f"<DCT>{entries}</DCT>")
            case Thing():
                shown = f"<ToString>{_escaped(value.shown or value.type)}</ToString>"
                inside = "".join(self.write(item, key) for key, item in value.properties.items())
                where = "MS" if value.type.startswith("Selected.") else "Props"
                types = (value.type, "System.Object")
                return self._object(at, types, f"{shown}<{where}>{inside}</{where}>")
        raise TypeError(type(value))

    def _object(self, at: str, types: tuple[str, ...], body: str) -> str:
        number = self._next
        self._next += 1
        names = "".join(f"<T>{one}</T>" for one in types)
        return f'<Obj{at} RefId="{number}"><TN RefId="{number}">{names}</TN>{body}</Obj>'


def _escaped(text: str) -> str:
    safe = re.sub("_(?=[xX])", "_x005F_", text)
    return escape(re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda one: f"_x{ord(one[0]):04X}_", safe))
