"""DNS messages: questions and answers, as far as they are readable; pure.

Sources: RFC 1035 (4.1 the format, 4.1.4 compression, 5.1 how bytes of a name are written), RFC 2782
(SRV). Names and texts are written as `dig` does: what is not printable is a backslash and three
digits, so that no name looks like another.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

_HEADER: Final = struct.Struct(">HHHHHH")
_LONGEST_NAME: Final = 255
_POINTERS: Final = 64
_SHOWN: Final = 20
_TEXT: Final = 500
#: Written with a backslash in a label.
_SPECIAL: Final = b'."\\;()@$'


class Damaged(Exception):
    """The header or a question is not readable."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One record; `data` is empty where its type has no text of its own here."""

    name: str
    kind: int
    ttl: int
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """What the analysis uses of a message."""

    ident: int
    response: bool
    authoritative: bool
    truncated: bool
    code: int
    questions: tuple[tuple[str, int], ...]
    #: The first 20; fewer where a record is damaged or cut off.
    answers: tuple[Answer, ...]


def read_message(data: bytes) -> Message:
    """Read a message; raises Damaged."""
    try:
        ident, flags, asked, answered, _, _ = _HEADER.unpack_from(data)
        position = _HEADER.size
        questions = []
        for _ in range(min(asked, _SHOWN)):
            name, position = _name(data, position)
            (kind,) = struct.unpack_from(">H", data, position)
            questions.append((name.lower(), kind))
            position += 4
    except (struct.error, ValueError) as error:
        raise Damaged(str(error)) from None
    return Message(
        ident,
        bool(flags & 0x8000),
        bool(flags & 0x0400),
        bool(flags & 0x0200),
        flags & 0x000F,
        tuple(questions),
        tuple(_answers(data, position, min(answered, _SHOWN))),
    )


def _answers(data: bytes, position: int, number: int) -> list[Answer]:
    found: list[Answer] = []
    try:
        for _ in range(number):
            name, position = _name(data, position)
            kind, _, ttl, size = struct.unpack_from(">HHIH", data, position)
            position += 10
            if position + size > len(data):
                break
            found.append(Answer(name, kind, ttl, _text(data, position, size, kind)))
            position += size
    except (struct.error, ValueError):
        pass  # What was readable is told.
    return found


def _name(data: bytes, position: int) -> tuple[str, int]:
    """A name and the position after it; raises ValueError."""
    labels: list[str] = []
    after, length = -1, 0
    for _ in range(_POINTERS + _LONGEST_NAME):
        if position >= len(data):
            raise ValueError("a name is cut off")
        size = data[position]
        if size == 0:
            return ".".join(labels), after if after >= 0 else position + 1
        if size >= 0xC0:
            if position + 1 >= len(data):
                raise ValueError("a name is cut off")
            after = after if after >= 0 else position + 2
            position = (size & 0x3F) << 8 | data[position + 1]
            continue
        label = data[position + 1 : position + 1 + size]
        length += size + 1
        if size > 63 or len(label) < size or length > _LONGEST_NAME:
            raise ValueError("a name is no name")
        labels.append(_written(label, _SPECIAL))
        position += size + 1
    raise ValueError("a name has no end")


def _written(data: bytes, special: bytes) -> str:
    return "".join(
        f"\\{chr(byte)}"
        if byte in special
        else chr(byte)
        if 0x21 <= byte <= 0x7E or (byte == 0x20 and special == b'"\\')
        else f"\\{byte:03d}"
        for byte in data
    )


def _text(data: bytes, position: int, size: int, kind: int) -> str:
    """The data of a record as text; that of other types, and what is damaged, as hex."""
    raw = data[position : position + size]
    try:
        if kind == 1 and size == 4:
            return socket.inet_ntoa(raw)
        if kind == 28 and size == 16:
            return socket.inet_ntop(socket.AF_INET6, raw)
        if kind in (2, 5, 12):
            return _name(data, position)[0]
        if kind == 15:
            (preference,) = struct.unpack_from(">H", raw)
            return f"{preference} {_name(data, position + 2)[0]}"
        if kind == 33:
            priority, weight, port = struct.unpack_from(">HHH", raw)
            return f"{priority} {weight} {port} {_name(data, position + 6)[0]}"
        if kind == 16:
            return _strings(raw)
    except (struct.error, ValueError):
        pass  # Shown as it is.
    return raw[:64].hex()


def _strings(raw: bytes) -> str:
    found, position = [], 0
    while position < len(raw):
        size = raw[position]
        found.append(_written(raw[position + 1 : position + 1 + size], b'"\\'))
        position += size + 1
    return " ".join(found)[:_TEXT]
