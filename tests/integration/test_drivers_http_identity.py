"""A login, authorities and a client certificate of one request, on a server that asks for them."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.certificates import Authority
from tests.driver_kit import Run, settings
from tests.integration.http_lab import Server, call, reply, served, with_server
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load


def curl(**parameters: Any) -> Invocation:
    tool = load().get("curl")
    assert tool is not None
    invocation = bind(tool, parameters)
    assert isinstance(invocation, Invocation), invocation
    return invocation


class Person:
    """A certificate and its key, as PEM texts, by an authority."""

    def __init__(self, authority: Authority, name: str) -> None:
        authority.server(name)
        text = authority.ca_file.with_name(f"{name}.pem").read_text()
        begin = text.index("-----BEGIN CERTIFICATE")
        self.key, self.certificate = text[:begin], text[begin:]


def asked(tls: ssl.SSLContext, **parameters: Any) -> Success | Failure:
    """What comes of a request to a server of this TLS."""

    async def inside() -> Outcome:
        async with served({"/": reply(200, b"fine")}, tls) as server:
            opened = Resources(settings(allow_private_addresses=True))
            try:
                url = f"https://localhost:{server.port}/"
                return await Run(opened, curl(url=url, **parameters)).outcome()
            finally:
                await opened.close()

    outcome = asyncio.run(inside())
    assert isinstance(outcome, Success | Failure)
    return outcome


def test_authorities_of_the_plan(tmp_path: Path) -> None:
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    tls = ours.server("localhost")
    assert isinstance(asked(tls, ca=ours.ca_file.read_text()), Success)
    for given in ({}, {"ca": theirs.ca_file.read_text()}):
        outcome = asked(tls, **given)
        assert isinstance(outcome, Failure)
        assert outcome.error_class == "tls_failed"
    other = asked(ours.server("www.example.org"), ca=ours.ca_file.read_text())
    assert isinstance(other, Failure)
    wrong = asked(tls, ca="no certificate")
    assert isinstance(wrong, Failure)
    assert (wrong.error_class, wrong.message[:3]) == ("invalid_parameters", "ca:")


def test_a_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.server("localhost")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.ca_file)
    ada, bob = Person(authority, "ada"), Person(authority, "bob")
    trust = {"ca": authority.ca_file.read_text()}
    files = set(Path(tempfile.gettempdir()).glob("runstream-tls-*"))
    shown = {"client_certificate": ada.certificate, "client_key": ada.key}
    outcome = asked(tls, **trust, **shown)
    assert isinstance(outcome, Success), outcome
    assert outcome.output["body"] == "fine"
    assert isinstance(asked(tls, **trust), Failure)
    for given, name in (
        ({**shown, "client_key": bob.key}, "client_certificate"),
        ({**shown, "client_key": "no key"}, "client_key"),
        ({**shown, "client_certificate": "none"}, "client_certificate"),
        ({**shown, "client_key": locked(ada.key)}, "client_key"),
    ):
        failed = asked(tls, **trust, **given)
        assert isinstance(failed, Failure)
        assert failed.error_class == "invalid_parameters"
        assert failed.message.startswith(name)
        assert "PRIVATE" not in failed.message
    assert set(Path(tempfile.gettempdir()).glob("runstream-tls-*")) == files


def locked(key: str) -> str:
    private = serialization.load_pem_private_key(key.encode(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a password"),
    ).decode()


def test_a_login_goes_to_its_host_only() -> None:
    login = {"username": "ada", "password": 'größer: "x"'}
    servers: list[Server] = []
    challenge = reply(401, WWW_Authenticate='Digest realm="r", nonce="n", qop="auth"')

    async def inside(server: Server, opened: Resources) -> list[Outcome]:
        servers.append(server)
        base = f"http://127.0.0.1:{server.port}"
        async with served({"/": challenge}) as other:
            server.replies["/away"] = reply(302, Location=f"http://127.0.0.1:{other.port}/")
            given = {**login, "follow_redirects": True}
            found = [
                await call(opened, "http", url=f"{base}/", **login),
                await call(opened, "http", url=f"{base}/digest", authentication="digest", **login),
                await call(opened, "http", url=f"{base}/away", **given),
                await call(opened, "http", url=f"{base}/away", authentication="digest", **given),
            ]
            assert [request.headers.get("authorization") for request in other.requests] == [
                None
            ] * 2
            return found

    replies = {"/": reply(200), "/digest": challenge}
    with_server(replies, inside)
    (server,) = servers
    basic, first, second, *_ = (
        request.headers.get("authorization", "") for request in server.requests
    )
    assert b64decode(basic.removeprefix("Basic ")).decode() == 'ada:größer: "x"'
    assert first == ""
    assert second.startswith('Digest username="ada"')
    assert "größer" not in second


@pytest.mark.parametrize(
    "given",
    [
        {"password": "x"},
        {"authentication": "digest"},
        {"client_certificate": "x"},
        {"client_key": "x"},
        {"username": "a:b"},
        {"username": "a\nb"},
    ],
)
def test_half_a_login_is_none(given: dict[str, Any]) -> None:
    tool = load().get("curl")
    assert tool is not None
    assert isinstance(bind(tool, {"url": "https://example.org/", **given}), list)
