"""HTTP requests on a real local server."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from drivers.values import KEPT_BYTES
from tests.driver_kit import Run, until
from tests.integration.http_lab import Server, call, reply, with_server
from toolmeta.invocation import Invocation


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
    assert len(outcome.output["body"]) == KEPT_BYTES
    assert outcome.output["truncated_fields"] == {"body": {"kept": KEPT_BYTES, "of": None}}


def test_a_large_document_is_read_whole() -> None:
    """It is shortened for the result later, and only where it does not fit."""
    document = {"total": 5_000, "items": [{"id": number} for number in range(30_000)]}

    async def body(server: Server, opened: Resources) -> Outcome:
        return await call(opened, "http", url=f"http://127.0.0.1:{server.port}/big")

    answer = reply(200, json.dumps(document).encode(), Content_Type="application/json")
    outcome = with_server({"/big": answer}, body)
    assert isinstance(outcome, Success)
    assert outcome.output["json"] == document and outcome.output["truncated"] is False


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
