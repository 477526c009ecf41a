"""TLS in the clear: the hellos, the certificate (up to TLS 1.2) and the alerts; pure.

Sources: RFC 8446 (4.1.2 ClientHello, 4.1.3 ServerHello, 4.2.1 supported_versions, 5.1 records,
6 alerts), RFC 5246 (7.4.2 Certificate), RFC 6066 (3 server name), RFC 7301 (ALPN). Nothing here
raises: what is damaged or cut off ends the reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

HANDSHAKE: Final = 22
ALERT: Final = 21
APPLICATION: Final = 23
_CHANGE_CIPHER_SPEC: Final = 20
_LONGEST: Final = 16_384 + 2_048
#: A hello of this random value is a HelloRetryRequest.
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
VERSIONS: Final = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}


@dataclass(slots=True)
class Hello:
    """The fields of a hello; of a server's, `versions` and `ciphers` hold one entry."""

    versions: list[int] = field(default_factory=list)
    ciphers: list[int] = field(default_factory=list)
    server_name: str | None = None
    protocols: list[str] = field(default_factory=list)
    retry: bool = False
    of_server: bool = False


@dataclass(slots=True)
class Side:
    """What one side sent in the clear."""

    hello: Hello | None = None
    hello_at: int = 0
    certificates: list[bytes] = field(default_factory=list)
    certificate_requested: bool = False
    alerts: list[tuple[int, int]] = field(default_factory=list)
    application_at: int | None = None
    is_tls: bool = False


class _Reader:
    """Takes fields from bytes; what is missing raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.position : self.position + size]
        if len(piece) < size:
            raise ValueError("cut off")
        self.position += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    @property
    def left(self) -> int:
        return len(self.data) - self.position


def read_side(data: bytes) -> Side:
    """Everything readable of one direction, from its first byte on."""
    side = Side()
    handshake = bytearray()
    starts: list[tuple[int, int]] = []
    encrypted = False
    for offset, kind, body in _records(data):
        side.is_tls = True
        if kind == APPLICATION:
            side.application_at = offset
            break
        if kind == _CHANGE_CIPHER_SPEC:
            encrypted = True
        elif kind == ALERT and len(body) == 2 and not encrypted:
            side.alerts.append((body[0], body[1]))
        elif kind == HANDSHAKE and not encrypted:
            starts.append((len(handshake), offset))
            handshake += body
    for at, kind, body in _messages(bytes(handshake)):
        offset = max((o for position, o in starts if position <= at), default=0)
        try:
            _message(side, kind, body, offset)
        except ValueError:
            break
    return side


def _records(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    while position + 5 <= len(data):
        kind, major = data[position], data[position + 1]
        length = int.from_bytes(data[position + 3 : position + 5], "big")
        if kind not in (20, 21, 22, 23, 24) or major != 3 or length > _LONGEST:
            return
        body = data[position + 5 : position + 5 + length]
        if len(body) < length:
            return
        yield position, kind, body
        position += 5 + length


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        length = int.from_bytes(data[position + 1 : position + 4], "big")
        body = data[position + 4 : position + 4 + length]
        if len(body) < length:
            return
        yield position, data[position], body
        position += 4 + length


def _message(side: Side, kind: int, body: bytes, offset: int) -> None:
    if kind in (1, 2) and (side.hello is None or side.hello.retry):
        side.hello = _client(body) if kind == 1 else _server(body)
        side.hello_at = offset
    elif kind == 11 and not side.certificates:
        chain = _Reader(_Reader(body).vector(3))
        while chain.left and len(side.certificates) < 10:
            side.certificates.append(chain.vector(3))
    elif kind == 13:
        side.certificate_requested = True


def _client(body: bytes) -> Hello:
    reader, hello = _Reader(body), Hello()
    version = reader.number(2)
    reader.take(32)
    reader.vector(1)
    suites = reader.vector(2)
    hello.ciphers = [int.from_bytes(suites[i : i + 2], "big") for i in range(0, len(suites), 2)]
    reader.vector(1)
    hello.versions = [version]
    for kind, data in _extensions(reader):
        if kind == 43:
            listed = _Reader(data).vector(1)
            numbers = [int.from_bytes(listed[i : i + 2], "big") for i in range(0, len(listed), 2)]
            hello.versions = [number for number in numbers if number in VERSIONS] or [version]
        elif kind == 0 and data:
            names = _Reader(_Reader(data).vector(2))
            if names.number(1) == 0:
                hello.server_name = _text(names.vector(2))
        elif kind == 16:
            hello.protocols = _protocols(data)
    return hello


def _server(body: bytes) -> Hello:
    reader, hello = _Reader(body), Hello(of_server=True)
    version = reader.number(2)
    hello.retry = reader.take(32) == _RETRY
    reader.vector(1)
    hello.ciphers = [reader.number(2)]
    reader.number(1)
    hello.versions = [version]
    for kind, data in _extensions(reader):
        if kind == 43:
            hello.versions = [_Reader(data).number(2)]
        elif kind == 16:
            hello.protocols = _protocols(data)
    return hello


def _extensions(reader: _Reader) -> Iterator[tuple[int, bytes]]:
    if reader.left < 2:
        return
    listed = _Reader(reader.vector(2))
    while listed.left >= 4:
        yield listed.number(2), listed.vector(2)


def _protocols(data: bytes) -> list[str]:
    listed = _Reader(_Reader(data).vector(2))
    found: list[str] = []
    while listed.left and len(found) < 20:
        found.append(_text(listed.vector(1)))
    return found


def _text(data: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 else "." for byte in data[:255])
