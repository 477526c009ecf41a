"""Mail against real SMTP servers: plain, STARTTLS and implicit TLS by an authority of our own."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from pydantic import SecretStr

from drivers.context import Failure, Outcome, Success
from drivers.messages import mail_server, smtp
from drivers.resources import Resources
from tests.certificates import Authority
from tests.driver_kit import Run, settings
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

# aiosmtpd 1.4 asks for `login_data` in a way that it warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:aiosmtpd")


class Inbox:
    """Keeps what it is sent; refuses `bad@…`, defers `later@…`, and everything from `spam@…`."""

    def __init__(self) -> None:
        self.mails: list[tuple[Envelope, Any, bool]] = []
        #: Addresses that mails came from.
        self.peers: list[str] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("bad@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later@"):
            return "451 4.7.1 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if envelope.mail_from is not None and envelope.mail_from.startswith("spam@"):
            return "554 5.7.1 not wanted"
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope, message, session.ssl is not None))
        self.peers.append(str(session.peer[0]) if isinstance(session.peer, tuple) else "")
        return "250 2.0.0 queued"


def authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    good = (data.login, data.password) == (b"me", b"canary")
    return AuthResult(success=good, handled=False)


@contextmanager
def server(inbox: Inbox, *, hostname: str = "127.0.0.1", **options: Any) -> Iterator[int]:
    controller = Controller(inbox, hostname=hostname, port=0, **options)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        controller.port = probe.getsockname()[1]
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def send(port: int, arguments: dict[str, Any] | None = None, **changed: Any) -> Outcome:
    async def inside() -> Outcome:
        fields = {"smtp_host": "localhost", "smtp_port": port, "smtp_from": "run@example.org"}
        opened = Resources(settings(**{**fields, **changed}))
        wanted = {"to": ["ops@example.org"], "subject": "S", "body": "B", **(arguments or {})}
        return await Run(
            opened, Invocation("sendmail", "smtp", call="send", arguments=wanted)
        ).outcome()

    return asyncio.run(inside())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_text_html_attachment_and_blind_copies() -> None:
    inbox = Inbox()
    content = b64encode(b"\x00\x01data").decode()
    with server(inbox) as port:
        outcome = send(
            port,
            {
                "to": "Ops Team <ops@example.org>, two@example.org",
                "cc": ["three@example.org"],
                "bcc": ["hidden@example.org"],
                "subject": "Größe: 97 %",
                "html": "<b>B</b>",
                "reply_to": "answers@example.org",
                "attachments": [
                    {"name": "a.bin", "content_base64": content, "content_type": "image/png"}
                ],
            },
        )
    assert isinstance(outcome, Success)
    envelope, message, encrypted = inbox.mails[0]
    assert not encrypted
    assert set(envelope.rcpt_tos) == set(outcome.output["accepted"])
    assert "hidden@example.org" in envelope.rcpt_tos
    assert "hidden" not in str(message)
    assert message["Subject"] == "Größe: 97 %"
    assert message["Message-ID"] == outcome.output["message_id"]
    assert message.get_body(("plain",)).get_content().split() == ["B"]
    assert message.get_body(("html",)).get_content().split() == ["<b>B</b>"]
    (attached,) = message.iter_attachments()
    assert attached.get_content() == b"\x00\x01data"
    assert attached.get_filename() == "a.bin"


@pytest.mark.parametrize(
    "arguments",
    [
        {"subject": "S\r\nBcc: evil@example.org"},
        {"subject": "S\nX: y"},
        {"to": ["a@example.org\nBcc: evil@example.org"]},
        {"to": ["not an address"]},
        {"to": []},
        {"from": "a@example.org, b@example.org"},
        {"reply_to": "a@example.org\r\nX: y"},
        {"attachments": [{"name": "a\r\nX: y", "content": ""}]},
        {"attachments": [{"name": "../a", "content": ""}]},
        {"attachments": [{"name": "a", "content": "", "content_type": "text/plain\r\nX: y"}]},
        {"attachments": [{"name": "a", "content_base64": "%%%"}]},
    ],
)
def test_nothing_gets_into_the_headers(arguments: dict[str, Any]) -> None:
    inbox = Inbox()
    with server(inbox) as port:
        outcome = send(port, arguments)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "invalid_parameters"
    assert inbox.mails == []


NAMES = ["Night shift", "Doe, Jane (ops)", "Größe; 日本", "a.b", "=?utf-8?q?x?=", "x" * 90]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quoted", [False, True])
def test_names_of_addresses(name: str, quoted: bool) -> None:
    """A name is one name, whatever it holds, and adds no recipient."""
    shown = f'"{name}"' if quoted else name
    given = {"to": [f"{shown} <ops@example.org>", "two@example.org"],
             "from": f"{shown} <run@example.org>", "reply_to": f"{shown}<a@b.org>"}  # fmt: skip
    tool = load().get("sendmail")
    assert tool is not None
    invocation = bind(tool, given)
    assert isinstance(invocation, Invocation), invocation
    inbox = Inbox()
    with server(inbox) as port:
        outcome = send(port, invocation.arguments)
    assert isinstance(outcome, Success), outcome
    assert outcome.output["accepted"] == ["ops@example.org", "two@example.org"]
    ((envelope, message, _),) = inbox.mails
    assert envelope.mail_from == "run@example.org"
    to = message["To"].addresses
    assert [one.addr_spec for one in to] == ["ops@example.org", "two@example.org"]
    decoded = "x" if name.startswith("=?") else name
    for header in ("From", "Reply-To"):
        (one,) = message[header].addresses
        assert one.display_name in (name, decoded)
    assert to[0].display_name in (name, decoded)


@pytest.mark.parametrize(
    "address",
    [
        "a@example.org, b@example.org", "x <a@example.org>, y <b@example.org>", "x <a@example.org",
        "<<a@example.org>>", "b@example.org <a@example.org>", 'x" <a@example.org>, "y <b@e.org>',
        "x\nBcc: b@example.org <a@example.org>", "x\r <a@example.org>",
        "x <>", "x <a>", "-x <a@b.c>",
        "x\\ <a@example.org>", "<a@example.org> x",
    ],
)  # fmt: skip
def test_what_is_not_one_address_is_refused(address: str) -> None:
    tool = load().get("sendmail")
    assert tool is not None
    for given in ({"to": [address]}, {"to": "a@b.c", "from": address}):
        assert isinstance(bind(tool, given), list)


def test_starttls_with_login(authority: Authority) -> None:
    inbox = Inbox()
    options: dict[str, Any] = {
        "tls_context": authority.server("localhost"),
        "authenticator": authenticate,
        "auth_required": True,
        "require_starttls": True,
    }
    secure: dict[str, Any] = {
        "smtp_use_tls": True,
        "smtp_ca_file": str(authority.ca_file),
        "smtp_user": "me",
    }
    with server(inbox, **options) as port:
        good = send(port, **secure, smtp_password=SecretStr("canary"))
        wrong = send(port, **secure, smtp_password=SecretStr("canary-wrong"))
        untrusted = send(port, **{**secure, "smtp_ca_file": None})
        other_name = send(port, **{**secure, "smtp_host": "127.0.0.1"})
    assert isinstance(good, Success)
    assert inbox.mails[0][2]
    classes = [
        one.error_class for one in (wrong, untrusted, other_name) if isinstance(one, Failure)
    ]
    assert classes == ["login_refused", "tls_failed", "tls_failed"]
    assert "canary" not in repr([good, wrong, untrusted, other_name])
    assert len(inbox.mails) == 1


def test_implicit_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox()
    with server(inbox, ssl_context=authority.server("127.0.0.1")) as port:
        monkeypatch.setattr(mail_server, "_IMPLICIT_TLS_PORT", port)
        secure: dict[str, Any] = {"smtp_use_tls": True, "smtp_host": "127.0.0.1"}
        good = send(port, **secure, smtp_ca_file=str(authority.ca_file))
        untrusted = send(port, **secure)
    assert isinstance(good, Success)
    assert isinstance(untrusted, Failure)
    assert untrusted.error_class == "tls_failed"


def test_tls_is_never_given_up_silently() -> None:
    inbox = Inbox()
    with server(inbox) as port:
        outcome = send(port, smtp_use_tls=True)
        clear = send(port, smtp_host="mail.example.org", smtp_user="me")
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "tls_failed"
    assert isinstance(clear, Failure)
    assert clear.error_class == "not_configured"
    assert inbox.mails == []


def test_refusals_by_recipient() -> None:
    inbox = Inbox()
    with server(inbox) as port:
        some = send(port, {"to": ["ops@example.org", "bad@example.org"]})
        none = send(port, {"to": ["bad@example.org"]})
        later = send(port, {"to": ["later@example.org"]})
        spam = send(port, {"from": "spam@example.org"})
    assert isinstance(some, Success)
    assert some.output["accepted"] == ["ops@example.org"]
    assert some.output["refused"]["bad@example.org"]["code"] == 550
    assert isinstance(none, Failure)
    assert (none.error_class, none.transient) == ("mail_refused", False)
    assert isinstance(later, Failure)
    assert (later.error_class, later.transient) == ("mail_deferred", True)
    assert isinstance(spam, Failure)
    assert spam.error_class == "mail_refused"
    assert len(inbox.mails) == 1


def test_no_server_and_a_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        refused = send(port, smtp_host="127.0.0.1")
        silent.listen()
        hanging = send(port, smtp_host="127.0.0.1")
    assert isinstance(refused, Failure)
    assert (refused.error_class, refused.transient) == ("connection_refused", True)
    assert isinstance(hanging, Failure)
    assert (hanging.error_class, hanging.transient) == ("unreachable", True)
