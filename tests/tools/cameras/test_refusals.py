"""Logins, answers that are errors, TLS and addresses that stay unreached."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure
from tests.certificates import Authority
from tests.fakes.camera import Camera
from tests.fakes.camera_apis import Reply
from tests.tools.cameras.kit import PASSWORD, On, attempt, succeed
from tests.tools.conftest import Execute
from tests.tools.odd.inputs import over_every
from toolmeta.registry import load

TOOLS = [tool.name for tool in load().all() if tool.run.driver == "vapix"]


@pytest.mark.tried(
    "axis_vapix_io_ports", "axis_vapix_device_info", inputs=("password", "wrong user")
)
def test_login(on: On) -> None:
    """Digest only; a stale nonce is answered anew, a wrong password is refused once and for all."""
    on.camera.logins.nonce_uses = 1
    on("io_ports", "read", port_number=1)
    assert on.camera.logins.stale == 2
    wrong = on.result("device_info", "get_all_info", password=f"{PASSWORD}-wrong")
    assert (wrong.status, wrong.error_class) == ("failed", "login_refused")
    assert wrong.error["transient"] is False
    assert PASSWORD not in repr((wrong.error, wrong.output))
    assert [kind["type"] for kind in wrong.events].count("step.started") == 1


@over_every(TOOLS, "password", "wrong user")
def test_logins_of_every_tool(camera: Camera, tool: str) -> None:
    """With its login each gets an answer of the camera; nobody else does."""
    found = load().get(tool)
    assert found is not None
    asked = {name: found.example.parameters[name] for name in found.example.parameters}
    for name in ("host", "username", "password"):
        del asked[name]
    for wrong in ({"username": "nobody"}, {"password": f"{PASSWORD}-wrong"}):
        _, refused = attempt(camera, tool, **{**asked, **wrong})
        assert isinstance(refused, Failure), refused
        assert (refused.error_class, refused.transient) == ("login_refused", False)
        assert PASSWORD not in repr(refused)
    _, answered = attempt(camera, tool, **asked)
    assert not isinstance(answered, Failure) or answered.error_class != "login_refused", answered


@pytest.mark.parametrize(
    ("reply", "error_class", "transient"),
    [
        (Reply(403, "text/html", b"no"), "login_refused", False),
        (
            Reply(401, "text/html", b"", {"WWW-Authenticate": "Basic realm=x"}),
            "login_refused",
            False,
        ),
        (Reply(404, "text/html", b"no"), "not_found", False),
        (Reply(400, "text/html", b"no"), "http_status", False),
        (Reply(503, "text/html", b"", {"Retry-After": "7"}), "rate_limited", True),
        (Reply(500, "text/html", b""), "http_unavailable", True),
        (Reply(200, "application/json", b"<html>"), "output_unparsable", False),
        (Reply(200, "application/json", b"x" * 2_000_000), "output_unparsable", False),
    ],
)
def test_error_classes(on: On, reply: Reply, error_class: str, transient: bool) -> None:
    on.camera.instead.append(reply)
    result = on.result("device_info", "get_all_info")
    assert (result.error_class, result.error["transient"]) == (error_class, transient)
    assert PASSWORD not in repr(result.error)


def test_hostile_xml_is_not_read(on: On) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><root>&x;</root>'
    on.camera.instead.append(Reply(200, "text/xml", bomb))
    result = on.result("recording", "list")
    assert result.error_class == "output_unparsable"
    assert "root:" not in repr(result)


def test_no_camera_there(execute: Execute, camera: Camera) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        given = camera.given(operation="get_all_info", port=unused.getsockname()[1])
        assert execute("axis_vapix_device_info", given).error_class == "connection_refused"
    given = camera.given(operation="get_all_info", host="no-such-host.invalid")
    assert execute("axis_vapix_device_info", given).error_class == "unreachable"


def test_the_port_may_stand_in_host(camera: Camera) -> None:
    endpoint = f"127.0.0.1:{camera.port}"
    succeed(camera, "axis_vapix_device_info", operation="get_all_info", host=endpoint, port=None)
    _, refused = attempt(
        camera, "axis_vapix_device_info", operation="get_all_info", host=endpoint, port=1
    )
    assert isinstance(refused, Failure)
    assert refused.error_class == "invalid_parameters"


@pytest.mark.parametrize(
    ("tool", "operation"), [("device_info", "get_all_info"), ("event_streaming", "collect")]
)
def test_tls_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, operation: str
) -> None:
    authority = Authority(tmp_path)
    extra: dict[str, Any] = {"duration": 1} if operation == "collect" else {}
    with Camera(tls=authority.server("127.0.0.1")) as camera:
        given: dict[str, Any] = {"operation": operation, "scheme": "https", **extra}
        _, untrusted = attempt(camera, f"axis_vapix_{tool}", **given)
        assert isinstance(untrusted, Failure)
        assert untrusted.error_class == "tls_failed"
        assert camera.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        succeed(camera, f"axis_vapix_{tool}", **given)
        _, other = attempt(camera, f"axis_vapix_{tool}", **{**given, "host": "localhost"})
        assert isinstance(other, Failure)
        assert other.error_class == "tls_failed"


@pytest.mark.parametrize(
    ("tool", "operation"), [("device_info", "get_all_info"), ("event_streaming", "collect")]
)
def test_the_address_guard_holds_for_cameras_too(camera: Camera, tool: str, operation: str) -> None:
    _, outcome = attempt(camera, f"axis_vapix_{tool}", allow=False, operation=operation)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"
    assert camera.logins.counts == {}
