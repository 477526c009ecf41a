"""What a file of hosts says of each of them, in the words of the inventory; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from streams.hosts import MAX_JUMPS
from streams.vocabulary import stored_environment
from toolmeta.formats import FORMATS

#: Of one file.
MAX_HOSTS: Final = 5_000
#: The tag of a host that is in a group, and the beginning of all such tags.
GROUP_TAG: Final = "group:"
#: Facts of an asset that a file may state under their own names.
FACTS: Final = (
    "asset_type", "status", "environment", "location", "owner", "os_type", "os_version",
    "service_type",
)  # fmt: skip

Login = str | int | list[str] | None
_ENVIRONMENTS: Final = frozenset({"dev", "staging", "prod", "development", "production"})


class BadFile(ValueError):
    """The file cannot be imported; the message names the line."""


@dataclass(frozen=True, slots=True)
class HostFound:
    """One host of a file. What the file does not say of it is absent."""

    hostname: str
    line: int
    facts: Mapping[str, str] = field(default_factory=dict)
    #: Of `metadata.connection`; None removes what is stored.
    connection: Mapping[str, Login] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    #: None where the file knows no groups.
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that the file says and the inventory does not take; never its value."""

    name: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """The hosts of a file, and what was left out of it."""

    hosts: list[HostFound]
    left_out: list[LeftOut]


def canonical(name: str) -> str:
    """A host name as the inventory stores it."""
    return name.strip().rstrip(".").lower()


def host_name(text: str, line: int) -> str:
    """A host name as the inventory stores it; raises BadFile where it is none."""
    if not FORMATS["host"].accepts(text):
        raise BadFile(
            f"line {line}: {text[:80]!r} is no host name: labels of letters, digits and - with "
            "dots between them; rename it in the file"
        )
    return canonical(text)


def port(text: str, line: int, name: str) -> int:
    """A port; raises BadFile."""
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65_536:
        raise BadFile(f"line {line}: {name}: {text[:40]!r} is no port")
    return int(text)


def address(text: str, line: int, name: str) -> tuple[dict[str, str], dict[str, Login]]:
    """Facts and connection of where a host is reached: an IP address is a fact of its own."""
    if not FORMATS["host"].accepts(text):
        raise BadFile(f"line {line}: {name}: {text[:80]!r} is no host name or IP address")
    if FORMATS["ip"].accepts(text):
        return {"ip_address": str(ip_address(text))}, {"address": None}
    return {}, {"address": canonical(text)}


def login(text: str, line: int, name: str) -> str:
    """A login name; raises BadFile."""
    if not 0 < len(text) <= 256 or not text.isprintable() or " " in text:
        raise BadFile(f"line {line}: {name}: {text[:40]!r} is no login name")
    return text


def jumps(text: str, line: int, name: str) -> tuple[list[str], bool]:
    """The hosts of a ProxyJump, and whether one of them named a user, which is left out."""
    found: list[str] = []
    users = False
    if text.strip().lower() != "none":
        for part in text.split(","):
            whole = part.strip().removeprefix("ssh://")
            user, at, host = whole.rpartition("@")
            users = users or bool(at and user)
            if not FORMATS["host-port"].accepts(host):
                raise BadFile(f"line {line}: {name}: {host[:80]!r} is no host to go through")
            found.append(host.lower())
    if len(found) > MAX_JUMPS:
        raise BadFile(f"line {line}: {name}: more than {MAX_JUMPS} hosts to go through")
    return found, users


def fact(name: str, text: str, line: int) -> str:
    """The value of a fact as it is stored; raises BadFile."""
    if name != "environment":
        return text
    if text not in _ENVIRONMENTS:
        raise BadFile(f"line {line}: environment: {text[:40]!r} is not dev, staging or prod")
    return str(stored_environment(text))


def templated(values: Iterable[object]) -> bool:
    """Whether a plan would read an expression in one of these texts."""
    return any("{{" in value or "}}" in value for value in values if isinstance(value, str))
