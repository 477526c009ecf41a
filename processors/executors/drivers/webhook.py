"""The `webhook` driver: sends a payload to an address that is a secret itself.

Arguments: `url`; `method` (POST); `headers`; `payload` (object or list: JSON; text: as it is);
`timeout` (seconds: 10, at most 60); `hmac_key` adds `X-Signature-256: sha256=<hex>`, the
HMAC-SHA256 of the body (the scheme that GitHub's webhooks made common).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

import orjson

from processors.executors.context import Failure, Outcome, RunContext, Success
from processors.executors.drivers.exchange import DEFAULT_SECONDS, Ask, exchange, refused
from processors.executors.errors import fail
from processors.executors.output import escaped
from toolmeta.invocation import Invocation

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_SECONDS: Final = 60.0
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
        secret = arguments.get("hmac_key")
        if secret is not None:
            digest = hmac.new(str(secret).encode(), content or b"", hashlib.sha256).hexdigest()
            headers["X-Signature-256"] = f"sha256={digest}"
        seconds = min(float(arguments.get("timeout") or DEFAULT_SECONDS), _SECONDS)
        return await deliver(
            invocation,
            context,
            Ask(method, arguments.get("url") or "", "the webhook", headers, content, seconds),
        )


def _content(payload: Any, headers: dict[str, str]) -> bytes | None:
    if payload is None:
        return None
    text = isinstance(payload, str)
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "text/plain; charset=utf-8" if text else "application/json"
    return payload.encode() if isinstance(payload, str) else orjson.dumps(payload)


async def deliver(invocation: Invocation, context: RunContext, ask: Ask) -> Outcome:
    """Send `ask`; the output holds the status and the first 500 characters, never the address."""
    answer = await exchange(invocation, context, ask)
    if isinstance(answer, Failure):
        return answer
    text = answer.text
    output: dict[str, Any] = {
        "status": answer.status,
        "response": escaped(text[:_KEPT_CHARACTERS]),
        "truncated": answer.truncated or len(text) > _KEPT_CHARACTERS,
    }
    if 200 <= answer.status < 300:
        return Success(output)
    return refused(invocation, ask.subject, answer, output)
