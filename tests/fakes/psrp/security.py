"""How the fake lets a client in: Basic, or NTLM by pyspnego's server side, with its encryption."""

from __future__ import annotations

import base64
import re
import struct
from pathlib import Path
from typing import Any

import spnego

USER, PASSWORD = "ACME\\operator", "Correct-Horse-9!"


def basic(header: str) -> bool:
    """Whether an Authorization header holds the right user and password."""
    expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return header == f"Basic {expected}"


def accounts_file(folder: Path) -> Path:
    """The accounts of the NTLM server, in the form that pyspnego reads."""
    domain, _, user = USER.partition("\\")
    file = folder / "accounts"
    file.write_text(f"{domain}:{user}:{PASSWORD}\n")
    return file


class Negotiated:
    """The login of one connection, and the encryption of its messages afterwards."""

    def __init__(self) -> None:
        self._context: Any = None

    @property
    def complete(self) -> bool:
        """Whether the client is who it says."""
        return self._context is not None and self._context.complete

    def step(self, token: bytes) -> bytes | None:
        """The next token for the client; raises what spnego raises for a wrong password."""
        if self._context is None:
            self._context = spnego.server(
                protocol="negotiate", options=spnego.NegotiateOptions.use_negotiate
            )
        answer: bytes | None = self._context.step(token)
        return answer

    def decrypt(self, body: bytes) -> bytes:
        """The SOAP text of a multipart/encrypted body ([MS-WSMV] 2.2.9.1)."""
        head, _, sealed = body.partition(b"Content-Type: application/octet-stream\r\n")
        assert b"application/HTTP-SPNEGO-session-encrypted" in head
        sealed = sealed.removesuffix(b"--Encrypted Boundary--\r\n")
        size = struct.unpack("<i", sealed[:4])[0]
        plain: bytes = self._context.unwrap_winrm(sealed[4 : 4 + size], sealed[4 + size :])
        stated = re.search(rb"Length=(\d+)", head)
        assert stated is not None
        assert int(stated[1]) == len(plain)
        return plain

    def encrypt(self, text: bytes) -> bytes:
        """The body that carries `text`."""
        header, sealed, padding = self._context.wrap_winrm(text)
        body: bytes = (
            b"--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n"
            b"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length="
            + str(len(text) + padding).encode()
            + b"\r\n--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
            + struct.pack("<i", len(header))
            + header
            + sealed
            + b"--Encrypted Boundary--\r\n"
        )
        return body
