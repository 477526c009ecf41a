"""Webhook, Slack and Teams on a real local server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json

import pytest
from pydantic import SecretStr

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import settings
from tests.integration.http_lab import Server, call, reply, served, with_server


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
