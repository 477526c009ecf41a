"""The connection to a WinRM listener, with pypsrp's transport restricted to safe options.

Certificates are verified; without TLS every message is encrypted by the authentication protocol,
and Basic, which cannot, is refused; responses are bounded; redirects, proxies and environment
variables are ignored; nothing is sent twice.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from xml.etree import ElementTree

import certifi
import requests
from pypsrp.wsman import NAMESPACES, OptionSet, SelectorSet, WSMan, WSManAction

Auth = Literal["negotiate", "ntlm", "kerberos", "basic"]

CONNECT_SECONDS: Final = 10
#: Without any byte of a response; WinRM responds within its operation timeout.
RESPONSE_SECONDS: Final = 30
OPERATION_SECONDS: Final = 20
#: WinRM's own bound of an envelope is 500 KiB unless an administrator raised it.
_RESPONSE_BYTES: Final = 8 * 1024 * 1024


class ResponseTooLarge(Exception):
    """The host sent more than an envelope may hold."""


@dataclass(frozen=True, slots=True)
class Target:
    """The host and the login."""

    name: str
    address: str
    port: int
    tls: bool
    auth: Auth
    user: str | None
    password: str | None = field(repr=False)
    ca_file: str | None = None


class WinRmConnection(WSMan):
    """A WSMan connection on which a Receive is never repeated, which would lose output."""

    def receive(
        self,
        resource_uri: str,
        resource: ElementTree.Element,
        option_set: OptionSet | None = None,
        selector_set: SelectorSet | None = None,
        timeout: int | None = None,
    ) -> ElementTree.Element:
        """One Receive; raises requests' ReadTimeout where the host sends nothing at all."""
        found = self.invoke(
            WSManAction.RECEIVE, resource_uri, resource, option_set, selector_set, timeout
        )
        body = found.find("s:Body", namespaces=NAMESPACES)
        if body is None:
            raise ElementTree.ParseError("no body")
        return body


def connect(target: Target) -> WinRmConnection:
    """A connection on which nothing was sent yet; raises ValueError for Basic without TLS."""
    if target.auth == "basic" and not target.tls:
        raise ValueError("Basic over HTTP would show the password: use TLS or negotiate")
    # A path is allowed here too; pypsrp's annotation says bool only.
    authorities: Any = target.ca_file or _authorities()
    connection = WinRmConnection(
        target.address,
        port=target.port,
        username=target.user,
        password=target.password,
        ssl=target.tls,
        auth=target.auth,
        cert_validation=authorities,
        encryption="auto" if target.tls else "always",
        connection_timeout=CONNECT_SECONDS,
        read_timeout=RESPONSE_SECONDS,
        operation_timeout=OPERATION_SECONDS,
        no_proxy=True,
        reconnection_retries=0,
        negotiate_hostname_override=target.name,
    )
    session = connection.transport._build_session()
    session.trust_env = False
    session.max_redirects = 0
    session.hooks["response"].append(_bounded)
    connection.transport.session = session
    return connection


def _authorities() -> str:
    """The machine's authorities, certifi's where it has none."""
    return ssl.get_default_verify_paths().cafile or certifi.where()


def _bounded(response: requests.Response, **_: Any) -> None:
    """Read the response before requests does, up to the largest allowed size."""
    data = response.raw.read(_RESPONSE_BYTES + 1, decode_content=True)
    if len(data) > _RESPONSE_BYTES:
        raise ResponseTooLarge
    response._content = data
    response._content_consumed = True
