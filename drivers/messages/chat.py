"""What the chat drivers share: a message's webhook and text, and how it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import SecretStr

from drivers.context import Failure, Outcome, RunContext
from drivers.errors import fail
from drivers.http.exchange import Request
from drivers.messages.webhook import deliver
from toolmeta.invocation import Invocation


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """Where a message is sent and its text; the URL is a secret."""

    url: str = field(repr=False)
    text: str


def chat_message(
    invocation: Invocation, configured: SecretStr | None, setting: str
) -> ChatMessage | Failure:
    """The message of a step; `configured` is the value of `setting`, used without `webhook_url`."""
    arguments = invocation.arguments
    url = arguments.get("webhook_url")
    if not url and configured is not None:
        url = configured.get_secret_value()
    if not url:
        message = f"there is no webhook: set {setting} or give webhook_url"
        return fail(invocation, "not_configured", message)
    text = arguments.get("message") or arguments.get("text")
    if not text:
        return fail(invocation, "invalid_parameters", "message is missing")
    return ChatMessage(url, text)


async def post(
    invocation: Invocation, context: RunContext, url: str, subject: str, document: dict[str, Any]
) -> Outcome:
    """Send a JSON document to the webhook once; each webhook has a rate of its own."""
    headers = {"Content-Type": "application/json"}
    request = Request("POST", url, subject, headers, orjson.dumps(document))
    return await deliver(invocation, context, request, by_path=True)
