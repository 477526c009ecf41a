"""The client of a camera's VAPIX interfaces: digest login, checked address, bounded responses.

Every request that fails raises `OperationFailed` with the failure to report; the driver catches it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element

import httpx
import orjson

from drivers.cameras import responses
from drivers.connections import stated_endpoint
from drivers.context import Failure, RunContext
from drivers.errors import fail
from drivers.http.exchange import Request, Response, exchange, status_failure
from drivers.output import escaped
from drivers.values import jsonable
from toolmeta.invocation import Invocation

_KEEP_BYTES: Final = 1024 * 1024
_SECONDS: Final = 10.0
#: Common to the JSON APIs; the device echoes it.
_CONTEXT: Final = "runstream"


class OperationFailed(Exception):
    """The operation failed; `failure` is the outcome of the step."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error_class)
        self.failure = failure


class Camera:
    """The client of one camera, for one attempt."""

    def __init__(self, invocation: Invocation, context: RunContext) -> None:
        """Nothing is sent yet; raises OperationFailed where two ports are named."""
        arguments = invocation.arguments
        self.invocation = invocation
        self.context = context
        try:
            self.host, self.port = stated_endpoint(arguments)
        except ValueError as error:
            raise self.failed("invalid_parameters", str(error)) from None
        self.secure = arguments.get("scheme") != "http"
        self.subject = f"the camera {self.host}"
        self.auth = httpx.DigestAuth(str(arguments["username"]), str(arguments["password"]))
        literal = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = literal if self.port is None else f"{literal}:{self.port}"

    def url(self, path: str, scheme: str | None = None) -> str:
        """The address of a path on this camera."""
        return f"{scheme or ('https' if self.secure else 'http')}://{self.authority}{path}"

    def failed(
        self, error_class: str, message: str, output: dict[str, Any] | None = None
    ) -> OperationFailed:
        """The failure to raise; the camera's own text is cut to 500 characters."""
        text = escaped(" ".join(message.split()))[:500]
        return OperationFailed(fail(self.invocation, error_class, text, output))

    async def request(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        content_type: str | None = None,
        keep_bytes: int = _KEEP_BYTES,
        seconds: float = _SECONDS,
        sink: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Response:
        """One request and its response of status 2xx."""
        headers = {} if content_type is None else {"Content-Type": content_type}
        response = await exchange(
            self.invocation,
            self.context,
            Request(
                method, self.url(path), self.subject, headers, content, seconds, keep_bytes,
                auth=self.auth, sink=sink,
            ),
        )  # fmt: skip
        if isinstance(response, Failure):
            raise OperationFailed(response)
        if 200 <= response.status < 300:
            return response
        raise self._status(response, path)

    def _status(self, response: Response, path: str) -> OperationFailed:
        where = path.partition("?")[0]
        match response.status:
            case 401 if "digest" not in response.headers.get("www-authenticate", "").lower():
                message = f"{self.subject} offers no digest login, and nothing else is used"
                return self.failed("login_refused", message)
            case 401:
                message = f"{self.subject} refuses the user name or the password"
                return self.failed("login_refused", message)
            case 403:
                message = f"{self.subject}: this user may not use {where}"
                return self.failed("login_refused", message)
            case 404:
                return self.failed("not_found", f"{self.subject} has no {where}")
        fault = _soap_fault(response.body)
        if fault is not None:
            return self.failed("http_status", f"{self.subject} says: {fault}")
        output = {"status": response.status}
        return OperationFailed(status_failure(self.invocation, self.subject, response, output))

    async def text(self, path: str, query: Mapping[str, Any]) -> str:
        """A GET with a plain text response; one that begins with `Error` is a failure."""
        response = await self.request("GET", _with(path, query))
        text = response.text
        if text.lstrip().startswith("Error"):
            said = text.lstrip().removeprefix("Error").lstrip(":")
            raise self.failed("http_status", f"{self.subject} says: {said}")
        return text

    async def xml(self, path: str, query: Mapping[str, Any]) -> Element:
        """A GET with an XML response; `result="ERROR"` and the error elements are failures."""
        root = self._parsed(await self.request("GET", _with(path, query)))
        for element in root.iter():
            if element.get("result", "OK").upper() == "ERROR":
                said = element.get("errormsg") or "it failed"
                raise self.failed("http_status", f"{self.subject} says: {said}")
            if responses.local(element).endswith("Error"):
                said = responses.text_of(element, "ErrorDescription") or "it failed"
                raise self.failed("http_status", f"{self.subject} says: {said}")
        return root

    async def json(
        self,
        path: str,
        method: str,
        params: Mapping[str, Any] | None = None,
        version: str = "1.0",
    ) -> dict[str, Any]:
        """A POST to one of the JSON APIs; returns `data`. An `error` in it is a failure."""
        call: dict[str, Any] = {"apiVersion": version, "context": _CONTEXT, "method": method}
        if params is not None:
            call["params"] = dict(params)
        response = await self.request("POST", path, orjson.dumps(call), "application/json")
        document = self._object(response)
        error = document.get("error")
        if isinstance(error, dict):
            said = f"{error.get('message', 'it failed')} (code {error.get('code', '?')})"
            raise self.failed("http_status", f"{self.subject} says: {said}")
        data = jsonable(document.get("data") or {})
        return data if isinstance(data, dict) else {"items": data}

    async def rest(self, method: str, path: str, data: Any = None) -> Any:
        """A call of the Device Configuration framework; returns `data`."""
        content = None if data is None else orjson.dumps({"data": data})
        kind = None if data is None else "application/json"
        response = await self.request(method, f"/config/rest/{path}", content, kind)
        if not response.body:
            return None
        document = self._object(response)
        if document.get("status") != "success":
            error = document.get("error")
            said = error.get("message") if isinstance(error, dict) else "it failed"
            raise self.failed("http_status", f"{self.subject} says: {said}")
        return jsonable(document.get("data"))

    async def soap(self, body: str) -> Element:
        """A POST to the web services (SOAP 1.2); `body` is the content of the body element."""
        envelope = (
            '<?xml version="1.0" encoding="utf-8"?>'
            '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
            'xmlns:tns1="http://www.onvif.org/ver10/topics" '
            'xmlns:tnsaxis="http://www.axis.com/2009/event/topics" '
            'xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2">'
            f"<soap:Body>{body}</soap:Body></soap:Envelope>"
        )
        kind = "application/soap+xml; charset=utf-8"
        root = self._parsed(await self.request("POST", "/vapix/services", envelope.encode(), kind))
        fault = responses.first(root, "Fault")
        if fault is not None:
            said = responses.text_of(fault, "Text") or "it failed"
            raise self.failed("http_status", f"{self.subject} says: {said}")
        return root

    async def parameters(self, group: str) -> dict[str, str]:
        """The parameters of a group; a group that the camera does not have is `not_found`."""
        text = await self.text("/axis-cgi/param.cgi", {"action": "list", "group": group})
        found = responses.pairs(text)
        if not found:
            raise self.failed("not_found", f"{self.subject} has no parameters {group}")
        return found

    async def update(self, values: Mapping[str, Any]) -> None:
        """Set parameters; a value that the camera does not take is `invalid_parameters`."""
        text = await self.text("/axis-cgi/param.cgi", {"action": "update", **values})
        if text.strip() != "OK":
            said = text.strip().removeprefix("# ") or "nothing"
            raise self.failed("invalid_parameters", f"{self.subject} says: {said}")

    def _parsed(self, response: Response) -> Element:
        try:
            return responses.xml(self.whole(response).body)
        except responses.Unreadable as error:
            raise self.unreadable(str(error)) from None

    def _object(self, response: Response) -> dict[str, Any]:
        try:
            document = orjson.loads(self.whole(response).body)
        except orjson.JSONDecodeError:
            raise self.unreadable("it is not JSON") from None
        if not isinstance(document, dict):
            raise self.unreadable("it is no JSON object")
        return document

    def whole(self, response: Response) -> Response:
        """The response, if all of it was kept."""
        if response.truncated:
            raise self.unreadable(f"it is longer than {len(response.body)} bytes")
        return response

    def unreadable(self, why: str) -> OperationFailed:
        """The failure for a response that is not as documented."""
        return self.failed("output_unparsable", f"{self.subject} answered unreadably: {why}")


def _with(path: str, query: Mapping[str, Any]) -> str:
    """The path with a query; every character that could mean something else is escaped."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given, quote_via=quote, safe='')}" if given else path


def _soap_fault(body: bytes) -> str | None:
    if b"Fault" not in body:
        return None
    try:
        return responses.text_of(responses.xml(body), "Text")
    except responses.Unreadable:
        return None
