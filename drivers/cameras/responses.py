"""Responses of Axis devices: key=value lines, XML, JPEG and multipart bodies. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException, ElementTree

_PRESET: Final = re.compile(r"presetposno(\d+)=(.*)")
#: Start-of-frame markers of JPEG (ITU T.81, table B.1), which hold height and width.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: The prefixes by which Axis and ONVIF documents write the topics of these namespaces.
_PREFIXES: Final = {
    "http://www.onvif.org/ver10/topics": "tns1:",
    "http://www.axis.com/2009/event/topics": "tnsaxis:",
}
#: Names of parameters whose values no output may show.
_SECRET: Final = re.compile(r"pass|secret|token|key$", re.IGNORECASE)


class Unreadable(Exception):
    """The response is not of the documented form."""


def pairs(text: str) -> dict[str, str]:
    """The `name=value` lines; other lines are left out, and a leading `root.` as well."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found[name.strip().removeprefix("root.")] = value.strip()
    return found


def number(text: str | None) -> float | int | str | None:
    """The number that the text is, else the text."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() else value


def presets(text: str) -> list[dict[str, Any]]:
    """Preset positions of `query=presetposall`, by number."""
    found = [match for line in text.splitlines() if (match := _PRESET.fullmatch(line.strip()))]
    return sorted(
        ({"number": int(match[1]), "name": match[2]} for match in found),
        key=lambda preset: int(preset["number"]),
    )


def xml(body: bytes) -> Element:
    """The root element; raises Unreadable.

    A document type definition is refused: no documented response has one, and its entities
    could expand a few bytes of XML without bound or read files.
    """
    try:
        root: Element = ElementTree.fromstring(body, forbid_dtd=True)
    except DefusedXmlException:
        raise Unreadable("it holds a document type definition") from None
    except ElementTree.ParseError as error:
        raise Unreadable(f"it is not XML: {error}") from None
    return root


def local(element: Element) -> str:
    """The element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def every(root: Element, name: str) -> Iterator[Element]:
    """All elements of that local name, in document order."""
    return (element for element in root.iter() if local(element) == name)


def first(root: Element, name: str) -> Element | None:
    """The first element of that local name."""
    return next(every(root, name), None)


def text_of(root: Element, name: str) -> str | None:
    """The text of the first element of that local name."""
    found = first(root, name)
    return None if found is None else (found.text or "").strip()


def attributes(element: Element) -> dict[str, Any]:
    """The attributes with numbers as numbers; names of identifiers keep their text."""
    return {
        name.rpartition("}")[2]: value if name.endswith("id") else number(value)
        for name, value in element.attrib.items()
    }


def parameters(element: Element) -> dict[str, str]:
    """The `<Parameter Name= Value=>` children; passwords and the like are hidden."""
    return {
        item.get("Name", ""): "***"
        if _SECRET.search(item.get("Name", ""))
        else item.get("Value", "")
        for item in every(element, "Parameter")
    }


def topics(root: Element) -> list[dict[str, Any]]:
    """The topics of a GetEventInstances response, as full names with their source and data keys."""
    start = first(root, "TopicSet")
    found: list[dict[str, Any]] = []
    waiting = [(child, "") for child in reversed(start)] if start is not None else []
    while waiting:
        element, above = waiting.pop()
        name = local(element)
        if name == "MessageInstance":
            continue
        name = _PREFIXES.get(element.tag.rpartition("}")[0].lstrip("{"), "") + name
        path = f"{above}/{name}" if above else name
        if any(key.endswith("topic") and value == "true" for key, value in element.attrib.items()):
            found.append({"topic": path, **_keys(element)})
        waiting.extend((child, path) for child in reversed(element))
    return found


def _keys(topic: Element) -> dict[str, Any]:
    message = first(topic, "MessageInstance")
    keys: dict[str, Any] = {"name": None, "source": [], "data": []}
    for name, value in topic.attrib.items():
        if name.endswith("NiceName"):
            keys["name"] = value
    if message is not None:
        for part, kind in (("SourceInstance", "source"), ("DataInstance", "data")):
            inside = first(message, part)
            if inside is not None:
                keys[kind] = [item.get("Name") for item in every(inside, "SimpleItemInstance")]
    return keys


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, or None where it is none."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _FRAMES:
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            return int.from_bytes(data[at + 7 : at + 9], "big"), height
        at += 2 + length
    return None


def parts(content_type: str, body: bytes) -> list[bytes]:
    """The complete parts of a multipart body (RFC 2046), by their Content-Length.

    Raises Unreadable where there is no boundary or a part has no length.
    """
    match = re.search(r'boundary="?([^";,\s]{1,70})', content_type)
    if match is None:
        raise Unreadable("it is no multipart body")
    # Axis devices name the boundary with or without its leading dashes.
    boundary = b"--" + match[1].removeprefix("--").encode()
    found: list[bytes] = []
    at = body.find(boundary)
    while at >= 0:
        end = body.find(b"\r\n\r\n", at)
        if end < 0 or body[at + len(boundary) : at + len(boundary) + 2] == b"--":
            break
        length = re.search(rb"(?i)content-length:\s*(\d{1,9})", body[at:end])
        if length is None:
            raise Unreadable("a part has no length")
        data = body[end + 4 : end + 4 + int(length[1])]
        if len(data) < int(length[1]):
            break
        found.append(data)
        at = body.find(boundary, end + 4 + len(data))
    return found
