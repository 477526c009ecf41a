"""Where a step acts and how: a host as the step names it, or an asset of the inventory.

An asset may have in `metadata.connection`: `address` (else its `ip_address`, else
its host name), `port`, `user`, `type` (`ssh`, `powershell` or `local`, where the rule does not
fit), secret references `password` and `key`, hosts to go through as `jump`, and for WinRM `auth`
and `tls`.
"""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from streams.hosts import MAX_JUMPS
from toolmeta.hosts import literal_address, split_port

Kind = Literal["local", "ssh", "powershell"]

#: How long an asset is cached in seconds; a changed address is used after that.
FRESH_SECONDS: Final = 10.0
_REMEMBERED: Final = 1_000
_HERE: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})
_KINDS: Final[dict[str, Kind]] = {"ssh": "ssh", "powershell": "powershell", "local": "local"}
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asset:
    """The facts of one host in the inventory."""

    hostname: str
    ip_address: str | None = None
    os_type: str | None = None
    service_type: str | None = None
    #: `metadata.connection`, as it is stored: checked where it is used.
    connection: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)


@dataclass(frozen=True, slots=True)
class Jump:
    """A host on the way to another one, as it is stated; secrets are still references."""

    host: str
    port: int | None = None
    user: str | None = None
    login: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)


@dataclass(frozen=True, slots=True)
class Connection:
    """How one host is reached. `name` is its name for people, `address` is connected to."""

    kind: Kind
    name: str
    address: str
    #: None: the usual port of the kind.
    port: int | None = None
    user: str | None = None
    #: `password`, `key`, `auth`, `tls` of the asset; secrets are still references.
    login: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)
    #: Whether it is in the inventory.
    known: bool = False
    #: The hosts that are gone through, the nearest first.
    jumps: tuple[Jump, ...] = ()


def is_here(host: str | None) -> bool:
    """Whether `host` means this machine."""
    if host is None or host.lower() in _HERE:
        return True
    own = socket.gethostname().lower()
    return host.lower() in (own, own.partition(".")[0])


def kind_of(os_type: str | None, service_type: str | None) -> Kind:
    """The reference's rule: PowerShell for a Windows without an SSH service, else SSH."""
    windows = "windows" in (os_type or "").lower()
    return "powershell" if windows and "ssh" not in (service_type or "").lower() else "ssh"


def connection_of(
    host: str | None, asset: Asset | None, stated_port: int | None = None
) -> Connection:
    """The connection to `host` (`name`, `name:port`, `[v6]:port`); `asset` is its own, if any.

    This machine is `local`, unless a port or the asset's connection says that it is to be reached
    in another way. Raises ValueError where the asset's connection is not usable, and where `host`
    has another port than the stated one.
    """
    name, port = split_port(host or "")
    if stated_port is not None:
        if port not in (None, stated_port):
            raise ValueError(
                f"connection.port: {stated_port} is not the port {port} that host names; give one"
            )
        port = stated_port
    if asset is None:
        kind: Kind = "local" if port is None and is_here(name) else "ssh"
        return Connection(kind, name, name, port)
    stated = asset.connection
    chosen = stated.get("type")
    if chosen is not None and chosen not in _KINDS:
        raise ValueError(f"the connection type of {asset.hostname} is not one of ssh, powershell")
    own_port = _port(asset, stated.get("port"))
    if chosen is not None:
        kind = _KINDS[chosen]
    elif is_here(asset.hostname) and port is None and own_port is None:
        kind = "local"
    else:
        kind = kind_of(asset.os_type, asset.service_type)
    return Connection(
        kind,
        asset.hostname,
        _text(asset, "address") or asset.ip_address or asset.hostname,
        port if port is not None else own_port,
        _text(asset, "user"),
        {name: stated[name] for name in ("password", "key", "auth", "tls") if name in stated},
        known=True,
        jumps=_jumps(asset),
    )


def destination_and_address(where: Connection) -> tuple[str, str | None]:
    """The name of the host, and what is connected to in the one spelling of rules for secrets.

    None stands for the name itself. An address in any spelling (`0x7f.1`) is its usual one.
    """
    name, address = (text.rstrip(".").lower() for text in (where.name, where.address))
    usual = literal_address(address)
    address = address if usual is None else str(usual)
    return name, None if address == name else address


def stated_endpoint(arguments: Mapping[str, Any]) -> tuple[str, int | None]:
    """Name and port of the arguments `host` (with or without a port) and `port`.

    Raises ValueError where both name a port, and not the same one.
    """
    name, port = split_port(str(arguments["host"]))
    stated: int | None = arguments.get("port")
    if port is not None and stated is not None and port != stated:
        raise ValueError(f"port: {stated} is not the port {port} that host names; give one of them")
    return name, port if stated is None else stated


def asset_of(row: Mapping[str, Any]) -> Asset:
    """The asset of a row of `execution.assets`."""
    metadata = row.get("metadata")
    stated = metadata.get("connection") if isinstance(metadata, dict) else None
    return Asset(
        row["hostname"],
        row.get("ip_address"),
        row.get("os_type"),
        row.get("service_type"),
        stated if isinstance(stated, dict) else _NOTHING,
    )


def _text(asset: Asset, name: str) -> str | None:
    value = asset.connection.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 256 or not value.isprintable():
        raise ValueError(f"the {name} in the connection of {asset.hostname} is not usable text")
    return value


def _jumps(asset: Asset) -> tuple[Jump, ...]:
    """Of an asset they are names only: each is looked up, with the login that is stored there."""
    value = asset.connection.get("jump")
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    usable = isinstance(names, list) and len(names) <= MAX_JUMPS
    if not usable or not all(_is_host(name) for name in names):
        raise ValueError(
            f"jump in the connection of {asset.hostname} is no list of at most {MAX_JUMPS} hosts"
        )
    return tuple(Jump(name) for name in names)


def _is_host(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 253 and value.isprintable()


def _port(asset: Asset, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65_536:
        raise ValueError(f"the port in the connection of {asset.hostname} is no port")
    return value


class AssetCache:
    """Assets that were looked up less than `seconds` ago, by tenant and host name; bounded.

    Only assets that exist are cached, so that a new asset is found at once.
    """

    def __init__(self, seconds: float = FRESH_SECONDS, most: int = _REMEMBERED) -> None:
        """Empty."""
        self._seconds = seconds
        self._most = most
        self._assets: OrderedDict[tuple[str, str], tuple[float, Asset]] = OrderedDict()

    def get(self, tenant: str, hostname: str) -> Asset | None:
        """The asset, if it was cached less than `seconds` ago."""
        found = self._assets.get((tenant, hostname))
        if found is None or time.monotonic() - found[0] > self._seconds:
            return None
        return found[1]

    def put(self, tenant: str, asset: Asset) -> None:
        """Cache an asset; the oldest is dropped where there are too many."""
        self._assets[tenant, asset.hostname] = (time.monotonic(), asset)
        self._assets.move_to_end((tenant, asset.hostname))
        while len(self._assets) > self._most:
            self._assets.popitem(last=False)
