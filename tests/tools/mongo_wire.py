"""A reader of MongoDB's own: BSON and the OP_MSG message, as far as the tests need them.

What mongosh and mongodump did is looked up with this and not with themselves.
Sources: the BSON specification 1.1; the wire protocol of MongoDB, OP_MSG.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

_OP_MSG = 2013
_HEAD = struct.Struct("<iiii")


def encode(document: dict[str, Any]) -> bytes:
    """A document of texts, 32-bit integers, documents and lists of these."""
    body = b"".join(_element(name, value) for name, value in document.items())
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _element(name: str, value: Any) -> bytes:
    key = name.encode() + b"\0"
    match value:
        case str():
            text = value.encode() + b"\0"
            return b"\x02" + key + struct.pack("<i", len(text)) + text
        case int():
            return b"\x10" + key + struct.pack("<i", value)
        case dict():
            return b"\x03" + key + encode(value)
        case list():
            return b"\x04" + key + encode({str(at): one for at, one in enumerate(value)})
    raise TypeError(type(value))


def decode(data: bytes) -> dict[str, Any]:
    """A document, with booleans, doubles and 64-bit integers too."""
    found: dict[str, Any] = {}
    at = 4
    while (kind := data[at]) != 0:
        end = data.index(b"\0", at + 1)
        name, at = data[at + 1 : end].decode(), end + 1
        found[name], at = _value(kind, data, at)
    return found


def _value(kind: int, data: bytes, at: int) -> tuple[Any, int]:
    match kind:
        case 0x01:
            return struct.unpack_from("<d", data, at)[0], at + 8
        case 0x02:
            (size,) = struct.unpack_from("<i", data, at)
            return data[at + 4 : at + 3 + size].decode(), at + 4 + size
        case 0x03 | 0x04:
            (size,) = struct.unpack_from("<i", data, at)
            inner = decode(data[at : at + size])
            return (inner if kind == 0x03 else list(inner.values())), at + size
        case 0x08:
            return data[at] == 1, at + 1
        case 0x10:
            return struct.unpack_from("<i", data, at)[0], at + 4
        case 0x12:
            return struct.unpack_from("<q", data, at)[0], at + 8
    raise TypeError(f"BSON element 0x{kind:02x}")


def ask(port: int, database: str, command: dict[str, Any]) -> dict[str, Any]:
    """The answer of the server on this port of loopback to one command."""
    body = struct.pack("<i", 0) + b"\0" + encode({**command, "$db": database})
    with socket.create_connection(("127.0.0.1", port), 10) as server:
        server.sendall(_HEAD.pack(_HEAD.size + len(body), 1, 0, _OP_MSG) + body)
        stream = server.makefile("rb")
        size = _HEAD.unpack(stream.read(_HEAD.size))[0] - _HEAD.size
        return decode(stream.read(size)[5:])
