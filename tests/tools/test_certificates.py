"""openssl on certificates of the tests' own; Python's TLS and cryptography say what is true."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devstack.ports import free_port
from drivers.context import Failure, Success
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.tools.running import program
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Made:
    """A certificate with its key in one PEM file."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path


class Certificates:
    """An authority, and certificates by it or by themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self.authority = self.make("Test authority", [], own=True)

    def make(
        self,
        subject: str,
        names: Sequence[str],
        *,
        own: bool = False,
        begins: timedelta = -DAY,
        ends: timedelta = 10 * DAY,
    ) -> Made:
        """One for these names and addresses; `own` signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        issuer = name if own else self.authority.certificate.subject
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )
        if own:
            builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        if names:
            listed = [_general(one) for one in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
        made = builder.sign(key if own else self.authority.key, hashes.SHA256())
        self._count += 1
        file = self.folder / f"{self._count}.pem"
        file.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Made(made, key, file)


def _general(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    program("openssl", "openssl")
    return Certificates(tmp_path)


@contextmanager
def serving(file: Path, *, no_certificate: bool = False) -> Iterator[int]:
    """A TLS server on the loopback that shakes hands and closes; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if no_certificate:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
                tls.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(20)


def trusted_by_python(port: int, name: str, authority: Path) -> bool:
    """Whether Python's TLS client takes the server for `name`."""
    context = ssl.create_default_context(cafile=authority)
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        try:
            context.wrap_socket(plain, server_hostname=name).close()
        except ssl.SSLCertVerificationError:
            return False
    return True


def run(parameters: dict[str, Any]) -> Success | Failure:
    """The call by the executor's own driver."""
    definition = load().get("openssl")
    assert definition is not None
    invocation = bind(definition, parameters)
    assert isinstance(invocation, Invocation), invocation

    async def inside() -> Success | Failure:
        opened = Resources(
            settings(allow_private_addresses=True, network_scope="", root_tools="openssl")
        )
        try:
            return await Run(opened, invocation).outcome()
        finally:
            await opened.close()

    return asyncio.run(inside())


def shown(parameters: dict[str, Any]) -> dict[str, Any]:
    outcome = run(parameters)
    assert isinstance(outcome, Success), outcome
    return outcome.output


#: The names in the certificate, the name that is asked for (None: the address), and the verdict.
SERVERS = [
    (["127.0.0.1"], None, True),
    (["localhost", "192.0.2.7"], None, False),
    ([], None, False),
    (["localhost"], "localhost", True),
    (["www.example.org"], "www.example.org", True),
    (["other.example.org"], "www.example.org", False),
    (["*.example.org"], "www.example.org", True),
    (["*.example.org"], "a.b.example.org", False),
    (["*.example.org"], "example.org", False),
    (["127.0.0.1"], "www.example.org", False),
]


@pytest.mark.parametrize(("names", "asked", "verdict"), SERVERS)
def test_a_server_is_verified_for_the_name_that_is_asked(
    certificates: Certificates, names: list[str], asked: str | None, verdict: bool
) -> None:
    made = certificates.make("somebody", names)
    authority = certificates.authority.file
    with serving(made.file) as port:
        assert trusted_by_python(port, asked or "127.0.0.1", authority) is verdict
        given = {"server": "127.0.0.1", "port": port, "ca_file": str(authority)}
        if asked == "localhost":
            given["server"] = "localhost"
        elif asked is not None:
            given["server_name"] = asked
        output = shown(given)
    assert output["verified"] is verdict, output
    assert output["names"] == names
    assert output["days_left"] == 9
    if not verdict:
        assert "mismatch" in output["verification"]


def test_whom_and_when_a_certificate_is_not_valid(certificates: Certificates) -> None:
    authority = certificates.authority.file
    for made, words, days in (
        (certificates.make("x", ["localhost"], own=True), "self-signed", 9),
        (certificates.make("x", ["localhost"], begins=-9 * DAY, ends=-3 * DAY / 2), "expired", -2),
        (certificates.make("x", ["localhost"], begins=DAY), "not yet valid", 9),
    ):
        with serving(made.file) as port:
            assert not trusted_by_python(port, "localhost", authority)
            output = shown({"server": "localhost", "port": port, "ca_file": str(authority)})
        assert (output["verified"], output["days_left"]) == (False, days), output
        assert words in output["verification"].replace("self signed", "self-signed")
        assert output["not_after"] == made.certificate.not_valid_after_utc.isoformat()


SUBJECTS = [
    "Müller & Söhne",
    "Ärzte, Köln",
    "a\nVerification: OK",
    'q"uo+te=x',
    "DNS:evil.example",
    "日本",
]


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("action", ["certificate", "connect"])
def test_subjects_stay_one_text(certificates: Certificates, subject: str, action: str) -> None:
    made = certificates.make(subject, ["localhost", "192.0.2.7", "2001:db8::1"])
    if action == "certificate":
        output = shown({"action": action, "path": str(made.file)})
        fingerprint = made.certificate.fingerprint(hashes.SHA256()).hex()
        assert output["sha256_fingerprint"].replace(":", "").lower() == fingerprint
        assert int(output["serial"], 16) == made.certificate.serial_number
    else:
        with serving(made.file) as port:
            output = shown({"server": "localhost", "port": port})
        assert output["verified"] is False
    text = output["subject"].removeprefix("CN = ").strip('"')
    assert text.replace("\\0A", "\n").replace('\\"', '"') == subject
    assert output["issuer"] == "CN = Test authority"
    assert output["names"] == ["localhost", "192.0.2.7", "2001:db8::1"]
    assert output["not_before"] == made.certificate.not_valid_before_utc.isoformat()
    assert output["days_left"] == 9


def test_why_no_certificate_is_shown(certificates: Certificates, tmp_path: Path) -> None:
    refused = run({"server": "127.0.0.1", "port": free_port()})
    assert isinstance(refused, Failure)
    assert refused.error_class == "connection_refused"
    absent = run({"action": "certificate", "path": str(tmp_path / "absent.pem")})
    assert isinstance(absent, Failure)
    assert absent.error_class == "not_found"
    other = tmp_path / "other.pem"
    other.write_text("no certificate")
    wrong = run({"action": "certificate", "path": str(other)})
    assert isinstance(wrong, Failure)
    assert wrong.error_class == "invalid_parameters"
    # A server whose certificate fits none of its ciphers: there is nothing to verify.
    with serving(certificates.make("x", ["localhost"]).file, no_certificate=True) as port:
        nothing = run({"server": "localhost", "port": port})
    assert isinstance(nothing, Failure)
    assert nothing.error_class == "tls_failed"
    assert nothing.output is not None
    assert nothing.output.get("verified") is False
    assert "names" not in nothing.output
