"""Mail over a server that the step names, and with files of the executor attached."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from drivers.context import Outcome, Success
from drivers.messages import mail
from drivers.resources import Resources
from tests.certificates import Authority
from tests.driver_kit import Run, command, failed, settings
from tests.integration.test_drivers_smtp import Inbox, authenticate, authority, server
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

__all__ = ["authority"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:aiosmtpd")


def send(arguments: dict[str, Any], **changed: Any) -> Outcome:
    """A mail of the tenant `acme`, as it is bound from its definition."""
    tool = load().get("sendmail")
    assert tool is not None
    given = {"to": ["ops@example.org"], "subject": "S", "body": "B", **arguments}
    invocation = bind(tool, given)
    assert isinstance(invocation, Invocation), invocation

    async def inside() -> Outcome:
        fields = {"smtp_host": "mail.invalid", "allow_private_addresses": True}
        opened = Resources(settings(**{**fields, **changed}))
        return await Run(opened, invocation, command(tenant="acme")).outcome()

    return asyncio.run(inside())


@pytest.mark.tried("sendmail", inputs=("password", "wrong user"))
def test_a_server_with_starttls_and_login(authority: Authority) -> None:
    inbox = Inbox()
    options: dict[str, Any] = {
        "tls_context": authority.server("localhost"), "authenticator": authenticate,
        "auth_required": True, "require_starttls": True,
    }  # fmt: skip
    with server(inbox, **options) as port:
        step = {"server": "localhost", "port": port, "ca": authority.ca_file.read_text()}
        login = {"username": "me", "password": "canary"}
        good = send({**step, **login})
        wrong = send({**step, **login, "password": "canary-wrong"})
        nobody = send({**step, **login, "username": "nobody"})
        untrusted = send({**step, **login, "ca": None})
        other_name = send({**step, **login, "server": "127.0.0.1"})
        anonymous = send(step)
        # The login of the executor is for the executor's server.
        own = {"smtp_user": "me", "smtp_password": SecretStr("canary"), "smtp_use_tls": True}
        not_lent = send(step, **own)
    assert isinstance(good, Success), good
    assert [(envelope.rcpt_tos, tls) for envelope, _, tls in inbox.mails] == [
        (["ops@example.org"], True)
    ]
    failed(wrong, "login_refused")
    failed(nobody, "login_refused")
    failed(untrusted, "tls_failed")
    failed(other_name, "tls_failed")
    failed(anonymous, "mail_refused")
    failed(not_lent, "mail_refused")
    assert "canary" not in repr([good, wrong, untrusted, other_name])


def test_implicit_tls_and_none(authority: Authority) -> None:
    inbox = Inbox()
    with server(inbox, ssl_context=authority.server("127.0.0.1")) as port:
        step = {"server": "127.0.0.1", "port": port, "tls": "implicit"}
        good = send({**step, "ca": authority.ca_file.read_text()})
        assert isinstance(good, Success), good
        failed(send(step), "tls_failed")
    with server(inbox) as port:
        plain = {"server": "127.0.0.1", "port": port}
        # A server without TLS gets nothing where TLS was not given up by name.
        failed(send(plain), "tls_failed")
        assert isinstance(send({**plain, "tls": "none"}), Success)
    assert len(inbox.mails) == 2


@pytest.mark.tried("sendmail", inputs=("IPv6 peer",))
def test_a_server_at_an_ipv6_address() -> None:
    inbox = Inbox()
    with server(inbox, hostname="::1") as port:
        outcome = send({"server": "::1", "port": port, "tls": "none"})
    assert isinstance(outcome, Success), outcome
    assert inbox.peers == ["::1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_an_inner_server_is_not_connected_to(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        step = {"server": host, "port": listener.getsockname()[1], "tls": "none"}
        own = {"allow_private_addresses": False, "network_scope": ""}
        failed(send(step, **own), "refused_address")
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal"])
def test_a_metadata_service_is_never_connected_to(host: str) -> None:
    failed(send({"server": host, "tls": "none"}), "refused_address")


def test_a_password_does_not_travel_in_the_clear() -> None:
    step = {"server": "mail.example.org", "tls": "none", "username": "me", "password": "canary"}
    assert "canary" not in failed(send(step), "invalid_parameters")


def test_no_server_a_silent_one_and_no_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.messages.smtp._SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        step = {"server": "127.0.0.1", "port": port, "tls": "none"}
        failed(send(step), "unreachable")
        told = failed(send({**step, "tls": "starttls", "ca": "no PEM"}), "invalid_parameters")
        assert told.startswith("ca:")
    failed(send(step), "connection_refused")
    failed(send({**step, "server": "no-such-host.invalid"}), "unreachable")


@pytest.mark.parametrize("arguments", [
    {"port": 25}, {"tls": "none"}, {"ca": "x"},
    {"username": "me", "password": "x"},
    {"server": "a.example", "password": "x"},
    {"server": "a.example:25"}, {"server": "-a"}, {"server": "a b"},
    {"server": "0x7f.1"}, {"server": "2130706433"},
    {"server": "a.example", "tls": "off"}, {"server": "a.example", "port": 0},
    {"server": "a.example", "username": "me\r\nRSET", "password": "x"},
])  # fmt: skip
def test_what_is_refused_before(arguments: dict[str, Any]) -> None:
    tool = load().get("sendmail")
    assert tool is not None
    assert isinstance(bind(tool, {"to": "a@example.org", **arguments}), list)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "transfer" / "acme"
    made.mkdir(parents=True)
    return made


def attach(folder: Path, inbox: Inbox, *attachments: dict[str, str]) -> Outcome:
    with server(inbox) as port:
        step = {"server": "127.0.0.1", "port": port, "tls": "none"}
        given = {**step, "attachments": list(attachments)}
        return send(given, transfer_folders=str(folder.parent))


def test_files_texts_and_base64_are_attached(folder: Path) -> None:
    data = random.Random(3).randbytes(3_000_000)
    (folder / "Größe.pdf").write_bytes(data)
    (folder / "empty").write_bytes(b"")
    inbox = Inbox()
    outcome = attach(
        folder, inbox,
        {"path": str(folder / "Größe.pdf"), "content_type": "application/pdf"},
        {"path": str(folder / "empty"), "name": "other.bin"},
        {"name": "a.txt", "content": "text"},
        {"name": "b.bin", "content_base64": "AAE="},
    )  # fmt: skip
    assert isinstance(outcome, Success), outcome
    ((_, message, _),) = inbox.mails
    found = {
        part.get_filename(): (part.get_content_type(), part.get_payload(decode=True))
        for part in message.iter_attachments()
    }
    assert found == {
        "Größe.pdf": ("application/pdf", data),
        "other.bin": ("application/octet-stream", b""),
        "a.txt": ("text/plain", b"text"),
        "b.bin": ("application/octet-stream", b"\x00\x01"),
    }
    assert [(one["bytes"], one["sha256"]) for one in outcome.output["attached"]] == [
        (len(data), hashlib.sha256(data).hexdigest()), (0, hashlib.sha256().hexdigest()),
    ]  # fmt: skip


def test_files_that_no_mail_may_hold(folder: Path) -> None:
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "x").write_text("of another tenant")
    (folder / "link").symlink_to("/etc/passwd")
    with (folder / "large").open("wb") as file:
        file.truncate(mail.ATTACHED_BYTES + 1)
    with (folder / "half").open("wb") as file:
        file.truncate(mail.ATTACHED_BYTES // 2 + 1)
    inbox = Inbox()
    for paths, error_class in (
        (["/etc/passwd"], "capability_missing"),
        ([str(folder.parent / "other" / "x")], "capability_missing"),
        ([str(folder / "link")], "capability_missing"),
        (["relative"], "capability_missing"),
        ([str(folder / "gone")], "not_found"),
        ([str(folder / "large")], "invalid_parameters"),
        ([str(folder / "half")] * 2, "invalid_parameters"),
    ):
        outcome = attach(folder, inbox, *({"path": path} for path in paths))
        assert "attachments[" in failed(outcome, error_class)
    both = attach(folder, inbox, {"path": str(folder / "half"), "content": "x"})
    assert "one of" in failed(both, "invalid_parameters")
    assert inbox.mails == []
