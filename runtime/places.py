"""Where an executor may do something: this machine, and hosts by their address, as a setting."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Final

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

HERE: Final = "local"
_PATTERN: Final = re.compile(r"[a-z0-9*?._-]{1,253}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Allowed:
    """Nothing is allowed where nothing is named."""

    here: bool = False
    #: Names of hosts in lower case, with `*` and `?`.
    names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    def host(self, address: str) -> bool:
        """Whether a host with this address may be acted on.

        A pattern of names matches no literal address, and a network no name, so that neither
        allows more than it says; `*` alone is every host.
        """
        if "*" in self.names:
            return True
        try:
            literal = ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            name = address.lower().rstrip(".")
            return any(fnmatchcase(name, pattern) for pattern in self.names)
        return any(literal in network for network in self.networks)


def parse(text: str) -> Allowed:
    """The places of a comma separated list; raises ValueError that names the wrong one."""
    here, names, networks = False, [], []
    for word in filter(None, map(str.strip, text.split(","))):
        if word.lower() == HERE:
            here = True
            continue
        try:
            networks.append(ipaddress.ip_network(word))
        except ValueError:
            name = word.lower().rstrip(".")
            if _PATTERN.fullmatch(name) is None or "/" in word or _is_number(name):
                message = f"{word} is neither local nor a host, a pattern of hosts or a network"
                raise ValueError(message) from None
            names.append(name)
    return Allowed(here, tuple(names), tuple(networks))


def _is_number(name: str) -> bool:
    return name.replace(".", "").isdigit()


def _places(given: object) -> object:
    return parse(given) if isinstance(given, str) else given


#: Places in an environment variable, comma separated.
Places = Annotated[Allowed, NoDecode, BeforeValidator(_places)]
