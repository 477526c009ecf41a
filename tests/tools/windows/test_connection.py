"""Logins, TLS, NTLM and connections that break."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure
from tests.certificates import Authority
from tests.fakes.psrp import security
from tests.fakes.psrp.server import FakeWindows, WsmanFault
from tests.fakes.psrp.shells import Reply
from tests.tools.odd.inputs import over_every
from tests.tools.windows.kit import Lab, bound, login, output
from toolmeta import registry

WINDOWS = [tool.name for tool in registry.load().all() if tool.run.driver == "winrm"]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def failure(lab: Lab, fake: FakeWindows | None, **changed: Any) -> Failure:
    """The failure of the simplest tool against a host, with other login parameters."""
    given = login(fake) if fake is not None else {"user": "u", "password": "secret-p"}
    outcome, run = lab.attempt(bound("test_path", {**given, "path": "C:\\a", **changed}))
    assert isinstance(outcome, Failure), outcome
    assert security.PASSWORD not in outcome.message
    assert bytes(run.output.stdout) == b""
    return outcome


def test_ways_not_to_get_in(lab: Lab, tmp_path: Path) -> None:
    host = lab.host()
    refused = failure(lab, host, password="not-" + security.PASSWORD[:3])
    assert (refused.error_class, refused.transient) == ("login_refused", False)
    nobody = failure(lab, None, host="127.0.0.1", port=closed_port(), auth="basic")
    assert (nobody.error_class, nobody.transient) == ("connection_refused", True)
    nowhere = failure(lab, None, host="no-such-host.invalid", auth="basic")
    assert (nowhere.error_class, nowhere.transient) == ("unreachable", True)
    assert "resolved" in nowhere.message
    assert host.calls == []
    (tmp_path / "other").mkdir()
    stranger = Lab(Authority(tmp_path / "other"), lab.made).host()
    untrusted = failure(lab, stranger)
    assert untrusted.error_class == "tls_failed"
    # Not a byte of the login left.
    assert bytes(stranger.wire) == b""
    # A certificate for another name is none.
    assert failure(lab, host, host="localhost").error_class == "tls_failed"


@over_every(WINDOWS, "wrong user")
def test_nobody_is_let_in(lab: Lab, tool: str) -> None:
    """Whatever is asked: no command comes to the host."""
    host = lab.host()
    example = registry.load().get(tool)
    assert example is not None
    given = {**example.example.parameters, **login(host, user="nobody-here")}
    outcome, run = lab.attempt(bound(tool, given))
    assert isinstance(outcome, Failure), outcome
    assert (outcome.error_class, outcome.transient) == ("login_refused", False)
    assert host.calls == []
    assert bytes(run.output.stdout) == b""


def test_what_the_host_refuses(lab: Lab) -> None:
    denied = lab.host(opening=WsmanFault(5, "Access is denied."))
    assert failure(lab, denied).error_class == "login_refused"
    full = lab.host(opening=WsmanFault(2150859173, "The maximum number of concurrent shells."))
    assert failure(lab, full).error_class == "rate_limited"
    other = lab.host(opening=WsmanFault(87, "The parameter is incorrect."))
    assert failure(lab, other).error_class == "remote_error"
    assert failure(lab, lab.host(status=404)).error_class == "not_found"
    assert failure(lab, lab.host(status=500)).error_class == "unreachable"


def test_a_connection_that_breaks(lab: Lab) -> None:
    host = lab.host(lambda _: Reply(hang=True, cut=True))
    outcome = failure(lab, host)
    # Reading is safe to repeat; the definition says so.
    assert (outcome.error_class, outcome.transient) == ("connection_lost", True)
    outcome, _ = lab.attempt(bound("powershell", {**login(host), "script": "x"}))
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.transient) == ("connection_lost", False)


def test_basic_without_tls_is_refused_before_anything_is_sent(lab: Lab) -> None:
    host = lab.host(tls=False)
    assert failure(lab, host, tls=False).error_class == "invalid_parameters"
    assert bytes(host.wire) == b""


def test_no_password_is_said(lab: Lab) -> None:
    outcome = failure(lab, None, host="127.0.0.1", password=None)
    assert outcome.error_class == "not_configured"


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("tls", [False, True])
def test_negotiate_and_what_is_on_the_wire(lab: Lab, tls: bool) -> None:
    host = lab.host(tls=tls, login="negotiate")
    given = {**login(host), "auth": "negotiate", "tls": tls, "path": "C:\\canary-on-the-wire"}
    outcome, _ = lab.attempt(bound("test_path", given))
    assert output("test_path", outcome)["exists"] is True
    assert host.calls[0].first["parameters"]["LiteralPath"] == "C:\\canary-on-the-wire"
    wire = bytes(host.wire)
    assert security.PASSWORD.encode() not in wire
    assert (host.sealed > 0) == (not tls)
    if not tls:
        # Without TLS the messages are encrypted: not one SOAP tag is to be seen.
        assert b"Envelope" not in wire.replace(b"Encrypted Boundary", b"")


@pytest.mark.usefixtures("accounts")
def test_negotiate_with_a_wrong_password(lab: Lab) -> None:
    host = lab.host(tls=False, login="negotiate")
    wrong = failure(lab, host, auth="negotiate", tls=False, password="wrong-password")
    assert wrong.error_class == "login_refused"
