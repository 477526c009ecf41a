"""The `webhook` driver: sends a payload to an address that is a secret itself.

Arguments: `url`; `method` (POST); `headers`; `payload` (object or list: JSON; text: as it is);
`timeout_seconds` (10, at most 60); `hmac_secret` adds `hmac_header` (X-Signature-256) with
`sha256=<hex>`, the HMAC-SHA256 of the body (the scheme of GitHub's webhooks).

The rate of messages to one receiver (host and port) is limited per process; further ones are held
back (`step.waiting`, reason `rate_limit`), at most until its command expires.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import AbstractContextManager
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.http.exchange import (
    DEFAULT_SECONDS,
    Request,
    checked_url,
    exchange,
    status_failure,
)
from drivers.output import escaped
from drivers.rate_limits import Rate
from toolmeta.invocation import Invocation

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_SECONDS: Final = 60.0
#: More than for a chat, whose messages are read by people.
_RATE: Final = Rate(per_second=5.0, burst=20)
#: Of the response, in the result.
_KEPT_CHARACTERS: Final = 500


class WebhookDriver:
    """Success is any 2xx; redirects are not followed."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Send the payload once."""
        arguments = invocation.arguments
        method = str(arguments.get("method") or "POST").upper()
        if method not in _METHODS:
            message = f"a webhook is called by GET, POST, PUT, PATCH or DELETE, not {method[:20]!r}"
            return fail(invocation, "invalid_parameters", message)
        headers = {str(key): str(item) for key, item in (arguments.get("headers") or {}).items()}
        content = _content(arguments.get("payload"), headers)
        secret = arguments.get("hmac_secret")
        if secret is not None:
            digest = hmac.new(str(secret).encode(), content or b"", hashlib.sha256).hexdigest()
            headers[str(arguments.get("hmac_header") or "X-Signature-256")] = f"sha256={digest}"
        seconds = min(float(arguments.get("timeout_seconds") or DEFAULT_SECONDS), _SECONDS)
        return await deliver(
            invocation,
            context,
            Request(method, arguments.get("url") or "", "the webhook", headers, content, seconds),
        )


def _content(payload: Any, headers: dict[str, str]) -> bytes | None:
    if payload is None:
        return None
    text = isinstance(payload, str)
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "text/plain; charset=utf-8" if text else "application/json"
    return payload.encode() if isinstance(payload, str) else orjson.dumps(payload)


async def deliver(
    invocation: Invocation, context: RunContext, request: Request, rate: Rate = _RATE
) -> Outcome:
    """Send the request as soon as the rate of its receiver allows it.

    The output holds the status and the first 500 characters, never the address.
    """
    context.not_acting()
    await _wait_for_receiver(context, request, rate)
    response = await exchange(invocation, context, request)
    if isinstance(response, Failure):
        return response
    text = response.text
    output: dict[str, Any] = {
        "status": response.status,
        "response": escaped(text[:_KEPT_CHARACTERS]),
        "truncated": response.truncated or len(text) > _KEPT_CHARACTERS,
    }
    if 200 <= response.status < 300:
        return Success(output)
    return status_failure(invocation, request.subject, response, output)


async def _wait_for_receiver(context: RunContext, request: Request, rate: Rate) -> None:
    """Wait until the receiver may get another message; the command's expiry bounds the wait."""
    if checked_url(request.url) is not None:
        return  # `exchange` reports it.

    def hold(before: int) -> AbstractContextManager[None]:
        limit = f"{rate.per_second:g} messages a second from this executor"
        message = f"{request.subject} gets at most {limit}"
        more = f"; {before} wait before this one" if before else ""
        return context.hold("rate_limit", message + more)

    receiver = urlsplit(request.url).netloc.lower()
    await context.resources.rate_limiter.acquire(receiver, rate, hold)
