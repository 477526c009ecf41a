"""A request at the rate of its receiver, which is left alone for as long as it asks to be."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from drivers.context import Failure, RunContext
from drivers.http.exchange import Request, Response, checked_url, exchange, retry_after
from toolmeta.invocation import Invocation

_BUSY: Final = frozenset({429, 503})


async def paced(
    invocation: Invocation, context: RunContext, request: Request, *, by_path: bool = False
) -> Response | Failure:
    """Send it as soon as the rate of its receiver allows it, before any effect of the step.

    The expiry of the command bounds the wait. `by_path`: every path is a receiver of its own, as
    the webhooks of a chat are.
    """
    if checked_url(request.url) is not None:
        return await exchange(invocation, context, request)  # It says what is wrong with it.
    parts = urlsplit(request.url)
    host = (parts.hostname or "").lower()
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    endpoint = f"{port}{parts.path if by_path else ''}"
    pacing = context.resources.pacing
    await pacing.receiver(context, host, endpoint, request.subject)
    response = await exchange(invocation, context, request)
    if isinstance(response, Response) and response.status in _BUSY:
        seconds = retry_after(response.headers.get("retry-after"))
        if seconds:
            pacing.pause(context, host, endpoint, seconds)
    return response
