"""Hosts as a plan names them: a name or an address, with or without a port."""

from __future__ import annotations

from typing import Final

_MAX_PORT: Final = 65_535
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def ascii_lower(text: str) -> str:
    """The text with the letters A to Z in lower case; every other character is left as it is."""
    return text.translate(_LOWER)


def split_port(host: str) -> tuple[str, int | None]:
    """Name and port of `name`, `name:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.

    Text after the colon that is no port number from 1 to 65535 stays part of the name, which is
    then no host name.
    """
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], None
    name, colon, port = host.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    if not colon or (":" in name and not bracketed):
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) <= _MAX_PORT):
        return host, None
    return (name[1:-1] if bracketed else name), int(port)
