"""The mail server of a step: that of the settings, or one that the step names."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from drivers.contacts import addresses_of
from drivers.context import Failure, RunContext
from drivers.errors import fail
from drivers.http.ranges import Address
from drivers.resources import trusted
from runtime.settings import ExecutorSettings
from toolmeta.hosts import literal_address
from toolmeta.invocation import Invocation

Protection = Literal["none", "starttls", "implicit"]

_IMPLICIT_TLS_PORT: Final = 465
_PORTS: Final[dict[str, int]] = {"none": 25, "starttls": 587, "implicit": _IMPLICIT_TLS_PORT}
#: Further addresses of a name are tried where one cannot be connected to.
_TRIED: Final = 3


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where a mail goes, how the connection is protected, and the login."""

    host: str
    port: int
    tls: Protection
    user: str | None = None
    password: str = field(default="", repr=False)
    ca_file: str | None = None
    #: PEM text in place of the machine's authorities.
    ca: str | None = field(default=None, repr=False)
    #: Checked ones to connect to; None: those that the name has, for the server of the settings.
    addresses: tuple[Address, ...] | None = None

    @property
    def clear_login(self) -> bool:
        """Whether the password would travel in the clear, and not only on this machine."""
        address = literal_address(self.host)
        here = self.host == "localhost" or (address is not None and address.is_loopback)
        return self.user is not None and self.tls == "none" and not here

    def context(self) -> ssl.SSLContext | None:
        """Whom to trust, None without TLS; reads files. Raises ValueError."""
        if self.tls == "none":
            return None
        if self.ca is None:
            return trusted(self.ca_file)
        try:
            return ssl.create_default_context(cadata=self.ca)
        except (ssl.SSLError, ValueError):
            raise ValueError("ca: no certificates in PEM") from None

    async def connected(self, seconds: float) -> socket.socket | None:
        """A connection to a checked address; None where the library may look the name up itself.

        Raises OSError, of which TimeoutError is one.
        """
        if self.addresses is None:
            return None
        failed: OSError = OSError("the name has no address")
        for address in self.addresses[:_TRIED]:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            made = socket.socket(family, socket.SOCK_STREAM)
            made.setblocking(False)
            try:
                async with asyncio.timeout(seconds):
                    where = (str(address), self.port)
                    await asyncio.get_running_loop().sock_connect(made, where)
                return made
            except OSError as error:
                made.close()
                failed = error
            except BaseException:
                made.close()
                raise
        raise failed


async def server_of(invocation: Invocation, context: RunContext) -> MailServer | Failure:
    """The server of this mail, its address checked where the step names it.

    The login of the settings is for the server of the settings only.
    """
    arguments, settings = invocation.arguments, context.resources.settings
    if arguments.get("server") is None:
        found = _of_settings(settings)
        if found.clear_login:
            message = "SMTP_USER needs SMTP_USE_TLS: the password would travel in the clear"
            return fail(invocation, "not_configured", message)
        return found
    found = _of_step(arguments)
    if found.clear_login:
        message = "username needs tls: the password would travel in the clear"
        return fail(invocation, "invalid_parameters", message)
    addresses = await addresses_of(invocation, context, found.host, found.port)
    if isinstance(addresses, Failure):
        return addresses
    return MailServer(
        found.host, found.port, found.tls, found.user, found.password, None, found.ca,
        tuple(addresses),
    )  # fmt: skip


def _of_step(arguments: dict[str, Any]) -> MailServer:
    tls: Protection = arguments.get("tls") or "starttls"
    user, ca = arguments.get("username"), arguments.get("ca")
    return MailServer(
        str(arguments["server"]).rstrip("."),
        int(arguments.get("port") or _PORTS[tls]),
        tls,
        None if user is None else str(user),
        str(arguments.get("password") or ""),
        ca=None if ca is None else str(ca),
    )


def _of_settings(settings: ExecutorSettings) -> MailServer:
    implicit = settings.smtp_port == _IMPLICIT_TLS_PORT
    tls: Protection = "implicit" if implicit else "starttls"
    password = settings.smtp_password
    return MailServer(
        settings.smtp_host,
        settings.smtp_port,
        tls if settings.smtp_use_tls else "none",
        settings.smtp_user,
        "" if password is None else password.get_secret_value(),
        settings.smtp_ca_file,
    )
