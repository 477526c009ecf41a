"""The `teams` driver: one card through an incoming webhook or a Workflows webhook.

Arguments: `message` (or `text`); `title`; `webhook_url` (default: the setting TEAMS_WEBHOOK_URL);
`format` (`message_card`, or `adaptive_card`, which Workflows webhooks require); `theme_color`
(0078D4) and `sections` of a MessageCard; `body`, more elements of an Adaptive Card; `actions` of
either.
Sources: Microsoft, "Legacy actionable message card reference"; Adaptive Cards schema 1.4.
"""

from __future__ import annotations

from typing import Any

from drivers.context import Failure, Outcome, RunContext
from drivers.messages.chat import chat_message, post
from toolmeta.invocation import Invocation


class TeamsDriver:
    """Success is any 2xx: connectors respond with 200, Workflows with 202."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Send the card once."""
        configured = context.resources.settings.teams_webhook_url
        message = chat_message(invocation, configured, "TEAMS_WEBHOOK_URL")
        if isinstance(message, Failure):
            return message
        arguments = invocation.arguments
        card = adaptive_card if arguments.get("format") == "adaptive_card" else message_card
        document = card(message.text, arguments)
        return await post(invocation, context, message.url, "the Teams webhook", document)


def message_card(text: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A MessageCard; it must have a summary, so the title or the text's beginning serves."""
    title = arguments.get("title")
    card: dict[str, Any] = {
        "@type": "MessageCard",
        "@context": "https://schema.org/extensions",
        "summary": title or text[:100],
        "themeColor": str(arguments.get("theme_color") or "0078D4").removeprefix("#"),
        "text": text,
    }
    if title:
        card["title"] = title
    if arguments.get("sections"):
        card["sections"] = arguments["sections"]
    if arguments.get("actions"):
        card["potentialAction"] = arguments["actions"]
    return card


def adaptive_card(text: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """An Adaptive Card, wrapped as the message that webhooks expect."""
    blocks: list[dict[str, Any]] = []
    if arguments.get("title"):
        blocks.append(
            {
                "type": "TextBlock",
                "text": arguments["title"],
                "weight": "Bolder",
                "size": "Medium",
                "wrap": True,
            }
        )
    blocks.append({"type": "TextBlock", "text": text, "wrap": True})
    blocks += arguments.get("body") or []
    content: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
    }
    if arguments.get("actions"):
        content["actions"] = arguments["actions"]
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": content,
    }
    return {"type": "message", "attachments": [attachment]}
