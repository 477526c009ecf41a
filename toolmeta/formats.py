"""Formats: the kinds of text that parameters hold, each a whole-value check.

No format accepts a leading dash, so a value of one can never be read as an option, nor the `@`,
`+` and space that some programs give a meaning to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from toolmeta.hosts import split_port


@dataclass(frozen=True, slots=True)
class Format:
    """One format: the check, and the text of its refusal (follows "must be")."""

    accepts: Callable[[str], object]
    wanted: str


_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
# One way only to match each text: a second one for every label doubles the time with each.
_DNS_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_DNS_LABEL}(?:\.{_DNS_LABEL})*\.?|\.")
_NUMBER_LABEL = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_EMAIL = re.compile(
    rf"[A-Za-z0-9_][A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{0,63}}@{_LABEL}(?:\.{_LABEL})*"
)
#: What a name holds that must not be taken for another address.
_NAMED = re.compile(r'(?![-+@ ])"?([^<>@"\\\x00-\x1f\x7f]{1,100}?)"? ?<([^<>]{1,320})>')
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_OUTSIDE_URL = re.compile(r"[\x00-\x20\x7f\\<>\"{}|^`]")


def _ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    # A scope (fe80::1%eth0) is free text that reaches programs unchecked.
    return "%" not in value


def _cidr(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return "%" not in value


def _hostname(value: str) -> bool:
    # A number as the last label is an address for some resolvers (127.1, 0x7f1).
    last = value.rstrip(".").rpartition(".")[2]
    disguised = bool(_NUMBER_LABEL.fullmatch(last))
    return len(value) <= 253 and bool(_HOSTNAME.fullmatch(value)) and not disguised


def _host(value: str) -> bool:
    return _hostname(value) or _ip(value)


def _host_port(value: str) -> bool:
    name, _ = split_port(value)
    return _ip(name) and ":" in name if value.startswith("[") else _host(name)


def _url(value: str) -> bool:
    if not _SCHEME.match(value) or _OUTSIDE_URL.search(value):
        return False
    try:
        parts = urlsplit(value)
        # Reading the port checks it.
        port = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and "@" not in parts.netloc and port != 0


def _mailbox(value: str) -> bool:
    named = _NAMED.fullmatch(value)
    return bool(_EMAIL.fullmatch(named[2] if named else value))


def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


FORMATS: Final[dict[str, Format]] = {
    "hostname": Format(_hostname, "a host name such as web-01.example.org"),
    "ip": Format(_ip, "an IPv4 or IPv6 address"),
    "cidr": Format(_cidr, "a network such as 10.0.0.0/24"),
    "host": Format(_host, "a host name or an IP address, without a port"),
    "host-port": Format(
        _host_port, "a host name or an IP address, with a port if need be: web-01:2222, [::1]:2222"
    ),
    "dns-name": Format(_DNS_NAME.fullmatch, "a DNS name such as _sip._tcp.example.org"),
    "url": Format(_url, "an http:// or https:// URL with a host and without user or password"),
    "email": Format(_EMAIL.fullmatch, "one mail address such as ops@example.org"),
    "mailbox": Format(
        _mailbox, "one mail address, alone or behind a name: Night shift <ops@example.org>"
    ),
    "path": Format(
        _matcher(r"[^-\n\r](?:[^\n\r]*)"),
        "a path on one line that does not begin with a dash (write ./-name)",
    ),
    "absolute-path": Format(_matcher(r"/[^\n\r]*"), "a path that begins with a slash"),
    "systemd-unit": Format(
        _matcher(r"[A-Za-z0-9:_@\\][A-Za-z0-9:_.@\\-]{0,254}"),
        "a systemd unit such as nginx.service",
    ),
    "account": Format(
        _matcher(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?"), "the name or number of a user or group"
    ),
    "interface": Format(
        _matcher(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14}"), "a network interface such as eth0"
    ),
    "identifier": Format(
        _matcher(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]{0,254}"),
        "a name of letters, digits and _ . : / @ + -",
    ),
    "header-text": Format(_matcher(r"[^\r\n\x00-\x08\x0b-\x1f\x7f]*"), "text on one line"),
}
