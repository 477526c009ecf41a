"""The `http` driver (curl): one request to a web address, its answer as structured output.

Arguments: `url`; `method` (GET); `headers`; `body` (text as it is, anything else as JSON);
`timeout` (seconds: 10, at most 300); `follow_redirects` (false; GET and HEAD only);
`expect_status` (list; default every 2xx). The output's `body` is parsed where it is JSON; of a
larger body than 192 KiB the beginning is kept, as text, and `truncated` is true.
"""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from processors.executors.context import Failure, Outcome, RunContext, Success
from processors.executors.drivers.exchange import (
    DEFAULT_SECONDS,
    Answer,
    Ask,
    checked_url,
    exchange,
    refused,
)
from processors.executors.drivers.values import fitting, jsonable
from processors.executors.errors import fail
from processors.executors.output import escaped
from toolmeta.invocation import Invocation

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_SECONDS: Final = 300.0
_KEEP_BYTES: Final = 192 * 1024


class HttpDriver:
    """Reads or changes something over HTTP."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Send the request; the answer's status decides."""
        arguments = invocation.arguments
        method = str(arguments.get("method") or "GET").upper()
        if method not in METHODS:
            return fail(invocation, "invalid_parameters", f"HTTP has no method {method[:20]!r}")
        reason = checked_url(arguments.get("url"))
        if reason is not None:
            return fail(invocation, "invalid_parameters", reason)
        url = str(arguments["url"])
        content, headers = content_of(arguments)
        subject = urlsplit(url).hostname or "the server"
        begun = time.monotonic()
        answer = await exchange(
            invocation,
            context,
            Ask(
                method,
                url,
                subject,
                headers,
                content,
                seconds=min(float(arguments.get("timeout") or DEFAULT_SECONDS), _SECONDS),
                keep_bytes=_KEEP_BYTES,
                follow=bool(arguments.get("follow_redirects", False)),
            ),
        )
        if isinstance(answer, Failure):
            return answer
        output = fitting(_output(answer, time.monotonic() - begun))
        expected = arguments.get("expect_status")
        if answer.status in expected if expected else 200 <= answer.status < 300:
            return Success(output)
        return refused(invocation, subject, answer, output)


def content_of(arguments: dict[str, Any]) -> tuple[bytes | None, dict[str, str]]:
    """The request body and all headers; the caller's own content type wins."""
    headers = {str(name): str(value) for name, value in (arguments.get("headers") or {}).items()}
    content: bytes | None = None
    kind = None
    body = arguments.get("body")
    if isinstance(body, str):
        content, kind = body.encode(), "text/plain; charset=utf-8"
    elif body is not None:
        content, kind = orjson.dumps(body), "application/json"
    if kind is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    return content, headers


def _output(answer: Answer, seconds: float) -> dict[str, Any]:
    output: dict[str, Any] = {
        "status": answer.status,
        "headers": {name: escaped(value) for name, value in answer.headers.items()},
        "url": answer.url,
        "redirects": answer.redirects,
        "elapsed_seconds": round(seconds, 4),
        "truncated": answer.truncated,
    }
    # Cookies are credentials.
    output["headers"].pop("set-cookie", None)
    if "json" in answer.headers.get("content-type", "") and not answer.truncated:
        try:
            output["body"] = jsonable(orjson.loads(answer.body))
        except orjson.JSONDecodeError:
            output["body"] = escaped(answer.text)
    else:
        output["body"] = escaped(answer.text)
    return output
