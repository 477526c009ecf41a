"""The `slack` driver: one message through an incoming webhook.

Arguments: `message` (or `text`); `webhook_url` (default: the setting SLACK_WEBHOOK_URL);
`channel`; `username` (Runstream); `icon_emoji` (:robot_face:); `attachments`; `blocks`.
Source: Slack, "Sending messages using incoming webhooks"; attachments and blocks as in the Web API.
"""

from __future__ import annotations

import orjson

from drivers.context import Outcome, RunContext
from drivers.errors import fail
from drivers.http.exchange import Request
from drivers.messages.webhook import CHAT_RATE, deliver
from toolmeta.invocation import Invocation


class SlackDriver:
    """Slack responds with 200 and `ok`, or with another status and the reason."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Send the message once."""
        arguments = invocation.arguments
        configured = context.resources.settings.slack_webhook_url
        url = arguments.get("webhook_url") or (
            configured.get_secret_value() if configured is not None else None
        )
        if url is None:
            message = "there is no webhook: set SLACK_WEBHOOK_URL or give webhook_url"
            return fail(invocation, "not_configured", message)
        text = arguments.get("message") or arguments.get("text")
        if not text:
            return fail(invocation, "invalid_parameters", "message is missing")
        payload = {
            "text": text,
            "username": arguments.get("username") or "Runstream",
            "icon_emoji": arguments.get("icon_emoji") or ":robot_face:",
        }
        for name in ("channel", "attachments", "blocks"):
            if arguments.get(name):
                payload[name] = arguments[name]
        headers = {"Content-Type": "application/json"}
        request = Request("POST", url, "the Slack webhook", headers, orjson.dumps(payload))
        return await deliver(invocation, context, request, CHAT_RATE)
