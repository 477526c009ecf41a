"""The `slack` driver: one message through an incoming webhook.

Arguments: `message` (or `text`); `webhook_url` (default: the setting SLACK_WEBHOOK_URL);
`channel`; `username` (Runstream); `icon_emoji` (:robot_face:); `attachments`; `blocks`.
Source: Slack, "Sending messages using incoming webhooks"; attachments and blocks as in the Web API.
"""

from __future__ import annotations

from drivers.context import Failure, Outcome, RunContext
from drivers.messages.chat import chat_message, post
from toolmeta.invocation import Invocation


class SlackDriver:
    """Slack responds with 200 and `ok`, or with another status and the reason."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Send the message once."""
        configured = context.resources.settings.slack_webhook_url
        message = chat_message(invocation, configured, "SLACK_WEBHOOK_URL")
        if isinstance(message, Failure):
            return message
        arguments = invocation.arguments
        payload = {
            "text": message.text,
            "username": arguments.get("username") or "Runstream",
            "icon_emoji": arguments.get("icon_emoji") or ":robot_face:",
        }
        for name in ("channel", "attachments", "blocks"):
            if arguments.get(name):
                payload[name] = arguments[name]
        return await post(invocation, context, message.url, "the Slack webhook", payload)
