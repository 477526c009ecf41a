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
from typing import Any, Final

import orjson

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.http.exchange import (
    DEFAULT_SECONDS,
    Request,
    status_failure,
)
from drivers.http.paced import paced
from drivers.output import escaped
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
    invocation: Invocation, context: RunContext, request: Request, *, by_path: bool = False
) -> Outcome:
    """Send the request as soon as the rate of its receiver allows it (`by_path`: see `paced`).

    The output holds the status and the first 500 characters, never the address.
    """
    context.not_acting()
    response = await paced(invocation, context, request, by_path=by_path)
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
