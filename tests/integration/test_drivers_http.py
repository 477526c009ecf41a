"""HTTP, webhook, Slack and Teams on a real local server; addresses that stay unreached."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from drivers.context import Failure, Outcome, Success
from drivers.http import addresses
from drivers.resources import Resources
from tests.certificates import Authority
from tests.driver_kit import Run, settings, until
from toolmeta.invocation import Invocation


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """A server that answers every request with `reply` bytes, chosen by path."""

    replies: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            method, path, _ = first.split(" ")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append(Request(method, path, headers, body))
            reply = self.replies.get(path.partition("?")[0])
            if reply is None:
                await reader.read()
                return
            writer.write(reply)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def reply(status: int, body: bytes = b"", **headers: Any) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def served(
    replies: dict[str, bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(replies)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


Body = Callable[[Server, Resources], Awaitable[Any]]


def with_server(replies: dict[str, bytes], body: Body, **changed: Any) -> Any:
    async def inside() -> Any:
        async with served(replies) as server:
            opened = Resources(settings(**{"allow_private_addresses": True, **changed}))
            try:
                return await body(server, opened)
            finally:
                await opened.close()

    return asyncio.run(inside())


async def call(opened: Resources, driver: str, **arguments: Any) -> Outcome:
    invocation = Invocation(driver, driver, call="request", arguments=arguments)
    return await Run(opened, invocation).outcome()


def test_get_json() -> None:
    async def body(server: Server, opened: Resources) -> Outcome:
        url = f"http://127.0.0.1:{server.port}/health?token=1"
        return await call(opened, "http", url=url, headers={"X-Mine": "yes"})

    replies = {"/health": reply(200, b'{"ok": true}', Content_Type="application/json")}
    outcome = with_server(replies, body)
    assert isinstance(outcome, Success)
    assert outcome.output["json"] == {"ok": True}
    assert outcome.output["status"] == 200
    assert outcome.output["elapsed_seconds"] > 0
    assert outcome.output["url"].endswith("/health")


def test_a_large_body_is_cut() -> None:
    async def body(server: Server, opened: Resources) -> Outcome:
        return await call(opened, "http", url=f"http://127.0.0.1:{server.port}/big")

    outcome = with_server({"/big": reply(200, b"x" * 5_000_000)}, body)
    assert isinstance(outcome, Success)
    assert outcome.output["truncated"] is True
    assert len(outcome.output["body"]) == 192 * 1024


@pytest.mark.parametrize(
    ("status", "headers", "error_class", "transient"),
    [
        (404, {}, "http_status", False),
        (500, {}, "http_unavailable", False),
        (503, {"Retry_After": "7"}, "rate_limited", True),
        (429, {"Retry_After": "Wed, 21 Oct 2037 07:28:00 GMT"}, "rate_limited", True),
        (429, {}, "rate_limited", True),
        (302, {"Location": "/x"}, "http_status", False),
    ],
)
def test_statuses(status: int, headers: dict[str, Any], error_class: str, transient: bool) -> None:
    async def body(server: Server, opened: Resources) -> Outcome:
        return await call(opened, "http", url=f"http://127.0.0.1:{server.port}/")

    outcome = with_server({"/": reply(status, **headers)}, body)
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.transient) == (error_class, transient)
    assert outcome.output is not None
    if headers.get("Retry_After") == "7":
        assert outcome.output["retry_after_seconds"] == 7


def test_redirects_are_followed_where_asked_and_end() -> None:
    async def body(server: Server, opened: Resources) -> list[Outcome]:
        base = f"http://127.0.0.1:{server.port}"
        return [
            await call(opened, "http", url=f"{base}/a", follow_redirects=True),
            await call(opened, "http", url=f"{base}/loop", follow_redirects=True),
        ]

    replies = {
        "/a": reply(302, Location="/b"),
        "/b": reply(200, b"there"),
        "/loop": reply(302, Location="/loop"),
    }
    first, second = with_server(replies, body)
    assert isinstance(first, Success)
    assert first.output["redirects"] == 1
    assert first.output["body"] == "there"
    assert isinstance(second, Failure)
    assert "more than 5" in second.message


def test_another_host_does_not_get_the_callers_headers() -> None:
    async def body(server: Server, opened: Resources) -> Server:
        server.replies["/a"] = reply(302, Location=f"http://localhost:{server.port}/b")
        url = f"http://127.0.0.1:{server.port}/a"
        headers = {"X-Api-Key": "canary", "Authorization": "Bearer canary"}
        await call(opened, "http", url=url, follow_redirects=True, headers=headers)
        return server

    server = with_server({"/b": reply(200)}, body)
    assert [request.path for request in server.requests] == ["/a", "/b"]
    assert "canary" in str(server.requests[0].headers)
    assert "canary" not in str(server.requests[1].headers)


FORBIDDEN = [
    "http://127.0.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://localhost:{port}/",
    "http://0.0.0.0:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://user@127.0.0.1:{port}/",
    "http://example.org@127.0.0.1:{port}/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ x",
]


def test_forbidden_addresses_are_never_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def body(server: Server, opened: Resources) -> list[Outcome]:
        outcomes = []
        for template in FORBIDDEN:
            for driver in ("http", "webhook"):
                url = template.format(port=server.port)
                outcomes.append(await call(opened, driver, url=url))
        assert server.connections == 0
        return outcomes

    outcomes = with_server({"/": reply(200)}, body, allow_private_addresses=False)
    for outcome in outcomes:
        assert isinstance(outcome, Failure)
        assert outcome.error_class in ("refused_address", "invalid_parameters")
        assert not outcome.transient


def test_a_redirect_to_the_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first host counts as public here; the redirect goes to a refused spelling of it."""

    async def body(server: Server, opened: Resources) -> tuple[Outcome, Server]:
        server.replies["/a"] = reply(302, Location=f"http://[::1]:{server.port}/inside")
        real = addresses.is_public
        monkeypatch.setattr(
            addresses, "is_public", lambda address: str(address) == "127.0.0.1" or real(address)
        )
        url = f"http://127.0.0.1:{server.port}/a"
        return await call(opened, "http", url=url, follow_redirects=True), server

    outcome, server = with_server({}, body, allow_private_addresses=False)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"
    assert len(server.requests) == 1


def test_a_name_is_resolved_once_and_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look-up would get the inner address; there is no second look-up."""
    answers: list[str] = []

    async def body(server: Server, opened: Resources) -> Outcome:
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def rebinding(host: str, port: int, **more: Any) -> Any:
            if host == "rebind.example":
                answers.append(host)
                address = "203.0.113.9" if len(answers) == 1 else "127.0.0.1"
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]
            return await real(host, port, **more)

        monkeypatch.setattr(loop, "getaddrinfo", rebinding)
        monkeypatch.setattr(addresses, "is_public", lambda address: str(address) == "203.0.113.9")
        url = f"http://rebind.example:{server.port}/"
        outcome = await call(opened, "http", url=url, timeout=0.5)
        assert server.connections == 0
        return outcome

    outcome = with_server({"/": reply(200)}, body, allow_private_addresses=False)
    assert isinstance(outcome, Failure)
    assert answers == ["rebind.example"]


def test_tls_is_verified_by_name_although_the_address_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)

    async def inside() -> list[Outcome]:
        tls = authority.server("localhost")
        async with served({"/": reply(200, b"secure")}, tls) as server:
            opened = Resources(settings(allow_private_addresses=True))
            outcomes = [await call(opened, "http", url=f"https://localhost:{server.port}/")]
            await opened.close()
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
            opened = Resources(settings(allow_private_addresses=True))
            for host in ("localhost", "127.0.0.1"):
                outcomes.append(await call(opened, "http", url=f"https://{host}:{server.port}/"))
            await opened.close()
            return outcomes

    untrusted, good, other_name = asyncio.run(inside())
    assert isinstance(untrusted, Failure)
    assert untrusted.error_class == "tls_failed"
    assert isinstance(good, Success)
    assert isinstance(other_name, Failure)
    assert other_name.error_class == "tls_failed"


def test_refused_hanging_and_broken_connections() -> None:
    async def body(server: Server, opened: Resources) -> list[Outcome]:
        base = f"http://127.0.0.1:{server.port}"
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            refused = f"http://127.0.0.1:{unused.getsockname()[1]}/"
            return [
                await call(opened, "http", url=refused),
                await call(opened, "http", url=f"{base}/hang", timeout=0.3),
                await call(opened, "http", url=f"{base}/broken"),
                await call(opened, "http", url="http://no-such-host.invalid/"),
            ]

    refused, hang, broken, unknown = with_server(
        {"/broken": b"HTTP/1.1 200 OK\r\nContent-Le"}, body
    )
    assert [one.error_class for one in (refused, hang, broken, unknown)] == [
        "connection_refused",
        "no_answer",
        "connection_lost",
        "unreachable",
    ]
    assert [one.transient for one in (refused, hang, broken, unknown)] == [True, False, False, True]


def test_cancel_of_a_hanging_request_closes_the_connection() -> None:
    async def body(server: Server, opened: Resources) -> None:
        url = f"http://127.0.0.1:{server.port}/hang"
        run = Run(opened, Invocation("curl", "http", call="request", arguments={"url": url}))
        await run.cancelled(lambda: len(server.requests) == 1, 2)
        assert len(asyncio.all_tasks()) <= 2
        await until(lambda: len(asyncio.all_tasks()) == 1)

    with_server({}, body)


def test_webhook_signs_and_keeps_500_characters() -> None:
    async def body(server: Server, opened: Resources) -> tuple[Outcome, Server]:
        url = f"http://127.0.0.1:{server.port}/hook/canary"
        outcome = await call(
            opened, "webhook", url=url, method="PUT", payload={"state": "done"}, hmac_secret="k"
        )
        return outcome, server

    outcome, server = with_server({"/hook/canary": reply(202, b"y" * 900)}, body)
    assert isinstance(outcome, Success)
    assert outcome.output == {"status": 202, "response": "y" * 500, "truncated": True}
    request = server.requests[0]
    assert request.method == "PUT"
    assert json.loads(request.body) == {"state": "done"}
    expected = hmac.new(b"k", request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-signature-256"] == f"sha256={expected}"


def test_the_webhooks_address_is_never_told() -> None:
    async def body(server: Server, opened: Resources) -> list[Outcome]:
        base = f"http://127.0.0.1:{server.port}"
        return [
            await call(opened, driver, **{name: url, "message": "m", "timeout_seconds": 0.3})
            for driver, name in (("webhook", "url"), ("slack", "webhook_url"))
            for url in (
                f"{base}/canary",
                f"{base}/hang-canary" if driver == "webhook" else f"{base}/canary",
                f"{base}/broken-canary",
                "http://canary.invalid/canary",
                "http://canary canary/",
                "gopher://canary/",
                "http://u:canary@127.0.0.1/",
                "http://[canary/",
            )
        ]

    replies = {"/canary": reply(403, b"no"), "/broken-canary": b"HTTP/1.1 9"}
    for outcome in with_server(replies, body):
        assert isinstance(outcome, Failure)
        assert "canary" not in repr(outcome)


def test_slack_payload() -> None:
    async def body(server: Server, opened: Resources) -> tuple[Outcome, Server]:
        return await call(opened, "slack", message="hi", channel="#ops", blocks=[{"a": 1}]), server

    async def inside() -> tuple[Outcome, Server]:
        async with served({"/slack": reply(200, b"ok")}) as server:
            url = SecretStr(f"http://127.0.0.1:{server.port}/slack")
            opened = Resources(settings(allow_private_addresses=True, slack_webhook_url=url))
            try:
                return await body(server, opened)
            finally:
                await opened.close()

    outcome, server = asyncio.run(inside())
    assert outcome == Success({"status": 200, "response": "ok", "truncated": False})
    assert json.loads(server.requests[0].body) == {
        "text": "hi",
        "username": "Runstream",
        "icon_emoji": ":robot_face:",
        "channel": "#ops",
        "blocks": [{"a": 1}],
    }


def test_teams_cards() -> None:
    async def body(server: Server, opened: Resources) -> Server:
        url = f"http://127.0.0.1:{server.port}/teams"
        for card in ("message_card", "adaptive_card"):
            outcome = await call(
                opened, "teams", webhook_url=url, message="hi", title="T", format=card, actions=[{}]
            )
            assert isinstance(outcome, Success)
        return server

    server = with_server({"/teams": reply(202, b"1")}, body)
    message, adaptive = (json.loads(request.body) for request in server.requests)
    assert message["@type"] == "MessageCard"
    assert (message["title"], message["themeColor"]) == ("T", "0078D4")
    assert message["potentialAction"] == [{}]
    content = adaptive["attachments"][0]["content"]
    assert content["type"] == "AdaptiveCard"
    assert [block["text"] for block in content["body"]] == ["T", "hi"]


@pytest.mark.parametrize("driver", ["slack", "teams"])
def test_no_webhook_is_said(driver: str) -> None:
    async def body(server: Server, opened: Resources) -> Outcome:
        return await call(opened, driver, message="hi")

    outcome = with_server({}, body)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "not_configured"
