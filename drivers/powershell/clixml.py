"""CLIXML, in which PowerShell sends objects, read into JSON values.

Source: [MS-PSRP] 2.2.5, serialization of objects. Properties of all kinds become entries of one
object; enumerations become their name, durations seconds, dates their ISO text; lists and
dictionaries become JSON ones; an object without properties becomes its text.
"""

from __future__ import annotations

import re
from typing import Any, Final
from xml.etree import ElementTree

from drivers.values import jsonable

_DEPTH: Final = 32
_LISTS: Final = frozenset({"LST", "IE", "QUE", "STK"})
_TEXTS: Final = frozenset({"S", "ToString", "URI", "XD", "SBK", "DT", "G", "BA", "Version"})
_WHOLE: Final = frozenset({"By", "SB", "U16", "I16", "U32", "I32", "U64", "I64"})
_ESCAPED: Final = re.compile(r"(?:_x[0-9A-Fa-f]{4}_)+")
_DURATION: Final = re.compile(
    r"(-)?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII
)
#: Added by remoting itself to objects that came from a third host.
_OF_REMOTING: Final = frozenset({"RunspaceId", "PSShowComputerName", "PSSourceJobInstanceId"})


class ClixmlError(Exception):
    """The text is not CLIXML; the message is one sentence without any of it."""


def read(text: str) -> Any:
    """The JSON value of one serialised object; raises ClixmlError."""
    try:
        # Expat bounds the expansion of entities by itself.
        element = ElementTree.fromstring(text)  # noqa: S314
    except ElementTree.ParseError as error:
        raise ClixmlError(
            f"The object is not well-formed XML (line {error.position[0]})."
        ) from None
    try:
        return jsonable(_Reader().value(element, 0))
    except (ValueError, KeyError) as error:
        raise ClixmlError(f"The object cannot be read ({type(error).__name__}).") from None


def unescaped(text: str) -> str:
    """Text with its `_xHHHH_` (UTF-16 units) decoded."""

    def units(match: re.Match[str]) -> str:
        codes = bytes.fromhex("".join(re.findall("_x([0-9A-Fa-f]{4})_", match[0])))
        return codes.decode("utf-16-be", "replace")

    return _ESCAPED.sub(units, text) if "_x" in text else text


class _Reader:
    """Reads one object; holds the objects that its parts refer to."""

    def __init__(self) -> None:
        self._objects: dict[str, Any] = {}
        self._types: dict[str, list[str]] = {}

    def value(self, element: ElementTree.Element, depth: int) -> Any:
        tag = element.tag
        if tag == "Obj":
            return self._object(element, depth)
        if tag == "Ref":
            return self._objects.get(element.get("RefId", ""))
        if tag in _LISTS:
            return self._list(element, depth)
        if tag == "DCT":
            return self._dictionary(element, depth)
        return _primitive(tag, element.text)

    def _object(self, element: ElementTree.Element, depth: int) -> Any:
        if depth > _DEPTH:
            return "(nested too deep)"
        types: list[str] = []
        shown: str | None = None
        properties: dict[str, Any] = {}
        inner: Any = None
        has_inner = False
        number = element.get("RefId", "")
        for part in element:
            match part.tag:
                case "TN":
                    types = [one.text or "" for one in part]
                    self._types[part.get("RefId", "")] = types
                case "TNRef":
                    types = self._types.get(part.get("RefId", ""), [])
                case "ToString":
                    shown = unescaped(part.text or "")
                case "Props" | "MS":
                    # An object may refer to itself; the reference then gives what is read so far.
                    self._objects.setdefault(number, shown)
                    for one in part:
                        name = unescaped(one.get("N", ""))
                        if name not in _OF_REMOTING:
                            properties[name] = self.value(one, depth + 1)
                case _:
                    inner, has_inner = self.value(part, depth + 1), True
        if has_inner:
            enumeration = any(one.removeprefix("Deserialized.") == "System.Enum" for one in types)
            found = shown if enumeration and shown is not None else inner
        else:
            found = properties or shown
        self._objects[number] = found
        return found

    def _list(self, element: ElementTree.Element, depth: int) -> Any:
        if depth > _DEPTH:
            return "(nested too deep)"
        return [self.value(part, depth + 1) for part in element]

    def _dictionary(self, element: ElementTree.Element, depth: int) -> Any:
        if depth > _DEPTH:
            return "(nested too deep)"
        found: dict[str, Any] = {}
        for entry in element:
            pair = {part.get("N"): self.value(part, depth + 1) for part in entry}
            found[str(pair.get("Key"))] = pair.get("Value")
        return found


def _primitive(tag: str, text: str | None) -> Any:
    if tag == "Nil":
        return None
    if tag in _TEXTS:
        return unescaped(text or "")
    if tag in _WHOLE:
        return int(text or "")
    match tag:
        case "B":
            return (text or "").lower() == "true"
        case "Sg" | "Db":
            return float((text or "").replace("INF", "inf"))
        case "C":
            return chr(int(text or ""))
        case "TS":
            return _seconds(text or "")
        case "SS":
            return "(secure string)"
    # D (decimal) and what a later version may add.
    return unescaped(text or "")


def _seconds(text: str) -> Any:
    match = _DURATION.fullmatch(text)
    if match is None:
        return text
    sign, days, hours, minutes, seconds = match.groups()
    total = int(days or 0) * 86_400 + int(hours or 0) * 3_600 + int(minutes or 0) * 60
    exact = total + float(seconds or 0)
    return -exact if sign else exact
