"""The `http` driver (curl): one request to a web address, its response as structured output.

Arguments: `url`; `method` (GET); `query` (an object; lists repeat their name); `headers`;
`username` and `password` (basic authentication, or digest by `authentication`); `ca`,
`client_certificate` and `client_key` (PEM texts); one of `body` (text as it is, anything else as
JSON), `json` and `form`; `timeout` or `timeout_seconds` (10, at most 300); `follow_redirects`
(false; GET and HEAD only); `expect_status` (list; default every 2xx); `max_bytes` (4 MiB).
`upload_file` (a path) in place of a body, `form_files` (paths by field) beside `form`;
`output_file` with `overwrite`, `file_mode` and `max_file_bytes` for the body of the response.

The output holds `json` where the response is JSON, else `body`; of a larger one the beginning is
kept, as text, and `truncated` is true. Where the tool names a parser, the output is the `status`
and what the parser finds in a response of an expected status.
"""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx
import orjson

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.http.exchange import (
    DEFAULT_SECONDS,
    Request,
    Response,
    checked_url,
    status_failure,
)
from drivers.http.identity import Unusable, identity_of
from drivers.http.paced import paced
from drivers.http.transfers import download, opened_upload
from drivers.output import escaped
from drivers.threads import in_thread
from drivers.transfer_files import TransferFiles
from drivers.transfer_files import Unusable as UnusableFile
from drivers.values import KEPT_BYTES, jsonable
from streams.truncation import mark
from toolmeta.invocation import Invocation
from toolmeta.template import as_text

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_SECONDS: Final = 300.0
#: Of an answer that its parser does not know.
_KEEP_BYTES: Final = 192 * 1024
#: Of an answer that becomes a file, where nothing else is said.
MOST_KEPT_BYTES: Final = 100 * 1024 * 1024
_FILES: Final = ("upload_file", "form_files", "output_file")
#: Of an answer that is looked through in the event loop and not in a thread.
_QUICK_BYTES: Final = 64 * 1024


class HttpDriver:
    """Sends HTTP requests."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Send the request; the status of the response decides."""
        context.not_acting()
        arguments = invocation.arguments
        method = str(arguments.get("method") or "GET").upper()
        if method not in METHODS:
            return fail(invocation, "invalid_parameters", f"HTTP has no method {method[:20]!r}")
        reason = checked_url(arguments.get("url"))
        if reason is not None:
            return fail(invocation, "invalid_parameters", reason)
        url = located(str(arguments["url"]), arguments.get("query"))
        content, headers = content_of(arguments)
        seconds = float(arguments.get("timeout") or arguments.get("timeout_seconds") or 0)
        keep = min(int(arguments.get("max_bytes") or KEPT_BYTES), KEPT_BYTES)
        subject = urlsplit(url).hostname or "the server"
        try:
            tls = await asyncio.to_thread(identity_of, arguments)
        except Unusable as error:
            return fail(invocation, "invalid_parameters", str(error))
        request = Request(
            method,
            url,
            subject,
            headers,
            content,
            seconds=min(seconds or DEFAULT_SECONDS, _SECONDS),
            keep_bytes=KEPT_BYTES if invocation.parser else keep,
            follow=bool(arguments.get("follow_redirects", False)),
            auth=_digest(arguments),
            tls=tls,
            progress=context.report_progress,
        )
        if any(arguments.get(name) for name in _FILES):
            try:
                return await _transferred(invocation, context, request)
            except UnusableFile as error:
                return error.failure
        begun = time.monotonic()
        response = await paced(invocation, context, request)
        if isinstance(response, Failure):
            return response
        expected = arguments.get("expect_status")
        good = response.status in expected if expected else 200 <= response.status < 300
        if good and invocation.parser is not None:
            return await _parsed(invocation, subject, response)
        seconds = time.monotonic() - begun
        if len(response.body) <= _QUICK_BYTES:
            output = _output(response, seconds)
        else:
            # Walking through megabytes would stop every other attempt of this process.
            output = await asyncio.to_thread(_output, response, seconds)
        return Success(output) if good else status_failure(invocation, subject, response, output)


async def _transferred(invocation: Invocation, context: RunContext, request: Request) -> Outcome:
    """The exchange of a request whose body, or whose answer, is a file; raises UnusableFile."""
    arguments, files = invocation.arguments, TransferFiles(invocation, context)
    most = int(arguments.get("max_file_bytes") or MOST_KEPT_BYTES)
    async with AsyncExitStack() as stack:
        upload = await opened_upload(stack, files, arguments)
        if upload is not None:
            headers = upload.headers_beside(request.headers)
            request = replace(request, content=upload, headers=headers)
        new = await stack.enter_async_context(download(files, arguments))
        if new is not None:
            request = replace(request, sink=partial(in_thread, new.write), keep_bytes=most)
        begun = time.monotonic()
        response = await paced(invocation, context, request)
        if isinstance(response, Failure):
            return response
        output = await asyncio.to_thread(_output, response, time.monotonic() - begun)
        if upload is not None:
            output["uploaded"] = upload.fields
        expected = arguments.get("expect_status")
        received = 200 <= response.status < 300
        good = response.status in expected if expected else received
        if not good or (new is not None and not received):
            return status_failure(invocation, request.subject, response, output)
        if new is None:
            return Success(output)
        output.pop("body", None)
        if response.truncated:
            message = (
                f"{request.subject} answered more than max_file_bytes ({most}), or not all of what "
                "it began; no file was written"
            )
            return fail(invocation, "limit_exceeded", message, output)
        output["file"] = new.finish().fields
    return Success(output)


async def _parsed(invocation: Invocation, subject: str, response: Response) -> Outcome:
    # An executor without HTTP tools needs no parser library.
    from toolmeta.parse import ParseError, parse

    if response.truncated:
        message = f"{subject} answered more than {KEPT_BYTES} bytes; ask for less"
        return fail(invocation, "output_unparsable", message, {"status": response.status})
    try:
        # Parsing megabytes in the event loop would stop every other attempt of this process.
        found = await asyncio.to_thread(parse, invocation.parser, response.text, 0)
    except ParseError as error:
        output = {"status": response.status, "body": escaped(response.text[:_KEEP_BYTES])}
        return fail(invocation, "output_unparsable", str(error), output)
    found.pop("exit_code", None)
    return Success({"status": response.status, **jsonable(found)})


def located(url: str, query: Any) -> str:
    """The URL with the query's parameters added; absent ones are left out."""
    if not isinstance(query, dict):
        return url
    pairs = {name: value for name, value in query.items() if value is not None}
    added = urlencode(
        [(name, as_text(v)) for name, value in pairs.items() for v in _each(value)],
    )
    parts = urlsplit(url)
    whole = "&".join(piece for piece in (parts.query, added) if piece)
    return urlunsplit(parts._replace(query=whole))


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def content_of(arguments: dict[str, Any]) -> tuple[bytes | None, dict[str, str]]:
    """The request body and all headers; the caller's own content type wins."""
    headers = {str(name): str(value) for name, value in (arguments.get("headers") or {}).items()}
    content: bytes | None = None
    kind = None
    body, document, form = (arguments.get(name) for name in ("body", "json", "form"))
    if arguments.get("form_files"):
        form = None  # It is a part of the files' body.
    if document is not None:
        content, kind = orjson.dumps(document), "application/json"
    elif form is not None:
        fields = [(str(name), as_text(value)) for name, value in form.items()]
        content, kind = urlencode(fields).encode(), "application/x-www-form-urlencoded"
    elif isinstance(body, str):
        content, kind = body.encode(), "text/plain; charset=utf-8"
    elif body is not None:
        content, kind = orjson.dumps(body), "application/json"
    if kind is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    user = arguments.get("username")
    if user is not None and arguments.get("authentication") != "digest":
        login = f"{user}:{arguments.get('password') or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    return content, headers


def _digest(arguments: dict[str, Any]) -> httpx.DigestAuth | None:
    if arguments.get("authentication") != "digest" or arguments.get("username") is None:
        return None
    return httpx.DigestAuth(str(arguments["username"]), str(arguments.get("password") or ""))


def _output(response: Response, seconds: float) -> dict[str, Any]:
    output: dict[str, Any] = {
        "status": response.status,
        "headers": {name: escaped(value) for name, value in response.headers.items()},
        "url": response.url,
        "host": urlsplit(response.url).hostname,
        "redirects": response.redirects,
        "elapsed_seconds": round(seconds, 4),
        "truncated": response.truncated,
    }
    # Cookies are credentials.
    output["headers"].pop("set-cookie", None)
    if "json" in response.headers.get("content-type", "") and not response.truncated:
        try:
            output["json"] = jsonable(orjson.loads(response.body))
        except orjson.JSONDecodeError:
            output["body"] = escaped(response.text)
    else:
        output["body"] = escaped(response.text)
        if len(response.body) >= KEPT_BYTES:
            # That much was not asked for, it is all that is ever read.
            mark(output, "body", len(output["body"]), None)
    return output
