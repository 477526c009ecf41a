"""The fake's WinRM listener: HTTP or HTTPS, a login, and SOAP messages ([MS-WSMV] 3.1.4)."""

from __future__ import annotations

import base64
import re
import ssl
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree

from spnego.exceptions import SpnegoError

from tests.fakes.psrp import security
from tests.fakes.psrp.canned import canned
from tests.fakes.psrp.security import Negotiated
from tests.fakes.psrp.shells import Answers, Call, Shell

_S = "http://www.w3.org/2003/05/soap-envelope"
_RSP = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
_NS = {
    "s": _S,
    "wsa": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "wsman": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "rsp": _RSP,
    "ps": "http://schemas.microsoft.com/powershell",
}
_TIMED_OUT = 2150858793
_HEAD = (
    f'<s:Envelope xmlns:s="{_S}" xmlns:wsa="{_NS["wsa"]}" xmlns:wsman="{_NS["wsman"]}" '
    f'xmlns:rsp="{_RSP}" xmlns:wst="http://schemas.xmlsoap.org/ws/2004/09/transfer">'
)


class Cut(Exception):
    """The connection is to be cut."""


class WsmanFault(Exception):
    """A fault to answer with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class FakeWindows:
    """One host; `calls` are the pipelines that arrived, `wire` all bytes of every request."""

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        *,
        login: str = "basic",
        answers: Answers = canned,
        opening: WsmanFault | None = None,
        status: int | None = None,
    ) -> None:
        """`login` is basic or negotiate; `opening` and `status` refuse every session."""
        self.answers = answers
        self.login, self.opening, self.status = login, opening, status
        self.calls: list[Call] = []
        self.shells: dict[str, Shell] = {}
        self.deleted: list[str] = []
        self.signals: list[str] = []
        self.wire = bytearray()
        self.sealed = 0
        #: Requests wait here while it is not set.
        self.awake = threading.Event()
        self.awake.set()
        fake = self

        class Handler(_Handler):
            host = fake

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.awake.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, text: bytes) -> tuple[int, bytes]:
        """Status and body for one SOAP message."""
        root = ElementTree.fromstring(text)
        message = root.findtext("s:Header/wsa:MessageID", "", _NS)
        action = root.findtext("s:Header/wsa:Action", "", _NS).rpartition("/")[2]
        try:
            body = getattr(self, f"_{action.lower()}")(root)
        except WsmanFault as fault:
            return 500, _fault(message, fault)
        header = f"<s:Header><wsa:RelatesTo>{message}</wsa:RelatesTo></s:Header>"
        return 200, f"{_HEAD}{header}<s:Body>{body}</s:Body></s:Envelope>".encode()

    def _shell(self, root: ElementTree.Element) -> Shell:
        ident = root.findtext("s:Header/wsman:SelectorSet/wsman:Selector[@Name='ShellId']", "", _NS)
        if ident not in self.shells:
            raise WsmanFault(2150858843, "The shell was not found on the server.")
        return self.shells[ident]

    def _create(self, root: ElementTree.Element) -> str:
        if self.opening is not None:
            raise self.opening
        uri = root.findtext("s:Header/wsman:ResourceURI", "", _NS)
        assert uri == "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"
        shell = root.find("s:Body/rsp:Shell", _NS)
        assert shell is not None
        creation = shell.findtext("ps:creationXml", "", _NS)
        ident = shell.get("ShellId") or str(uuid.uuid4()).upper()
        self.shells[ident] = Shell(ident, base64.b64decode(creation), lambda c: self.answers(c))
        return (
            "<wst:ResourceCreated><wsa:Address>anonymous</wsa:Address><wsa:ReferenceParameters>"
            f'<wsman:SelectorSet><wsman:Selector Name="ShellId">{ident}</wsman:Selector>'
            "</wsman:SelectorSet></wsa:ReferenceParameters></wst:ResourceCreated>"
            f"<rsp:Shell><rsp:ShellId>{ident}</rsp:ShellId>"
            f"<rsp:ResourceUri>{uri}</rsp:ResourceUri></rsp:Shell>"
        )

    def _command(self, root: ElementTree.Element) -> str:
        line = root.find("s:Body/rsp:CommandLine", _NS)
        assert line is not None
        first = line.findtext("rsp:Arguments", "", _NS)
        pipeline, call = self._shell(root).begin(line.get("CommandId"), first)
        self._seen(call)
        return (
            f"<rsp:CommandResponse><rsp:CommandId>{pipeline.ident}</rsp:CommandId>"
            "</rsp:CommandResponse>"
        )

    def _send(self, root: ElementTree.Element) -> str:
        stream = root.find("s:Body/rsp:Send/rsp:Stream", _NS)
        assert stream is not None
        pipeline = self._shell(root).pipelines[str(stream.get("CommandId"))]
        self._seen(pipeline.feed(base64.b64decode(stream.text or "")))
        return "<rsp:SendResponse/>"

    def _seen(self, call: Call | None) -> None:
        if call is not None:
            self.calls.append(call)

    def _receive(self, root: ElementTree.Element) -> str:
        shell = self._shell(root)
        wanted = root.find("s:Body/rsp:Receive/rsp:DesiredStream", _NS)
        assert wanted is not None
        ident = wanted.get("CommandId")
        seconds = _seconds(root.findtext("s:Header/wsman:OperationTimeout", "", _NS))
        if ident is None:
            fragments, shell.waiting = shell.waiting, []
        else:
            pipeline = shell.pipelines[ident]
            if pipeline.reply.cut:
                raise Cut
            fragments = pipeline.receive(seconds)
        if not fragments:
            raise WsmanFault(_TIMED_OUT, "The WS-Management service did not respond in time.")
        at = "" if ident is None else f' CommandId="{ident}"'
        data = base64.b64encode(b"".join(fragments)).decode()
        return (
            f'<rsp:ReceiveResponse><rsp:Stream Name="stdout"{at}>{data}</rsp:Stream>'
            "</rsp:ReceiveResponse>"
        )

    def _signal(self, root: ElementTree.Element) -> str:
        signal = root.find("s:Body/rsp:Signal", _NS)
        assert signal is not None
        code = signal.findtext("rsp:Code", "", _NS)
        self.signals.append(code)
        pipeline = self._shell(root).pipelines[str(signal.get("CommandId"))]
        if code == "powershell/signal/ctrl_c":
            pipeline.stop()
        return "<rsp:SignalResponse/>"

    def _delete(self, root: ElementTree.Element) -> str:
        shell = self._shell(root)
        del self.shells[shell.ident]
        self.deleted.append(shell.ident)
        return ""


class _Server(ThreadingHTTPServer):
    """A client that does not trust us hangs up: no reason to print anything."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


def _seconds(text: str) -> float:
    match = re.fullmatch(r"PT([0-9.]+)S", text)
    assert match is not None
    return float(match[1])


def _fault(message: str, fault: WsmanFault) -> bytes:
    wsman = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
    return (
        f"{_HEAD}<s:Header><wsa:RelatesTo>{message}</wsa:RelatesTo></s:Header><s:Body><s:Fault>"
        "<s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>wsman:TimedOut</s:Value>"
        f'</s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">{fault.reason}</s:Text>'
        f'</s:Reason><s:Detail><f:WSManFault xmlns:f="{wsman}" Code="{fault.code}" '
        f'Machine="win-01"><f:Message>{fault.reason}</f:Message></f:WSManFault></s:Detail>'
        "</s:Fault></s:Body></s:Envelope>"
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    """One connection; logins belong to it."""

    host: FakeWindows
    protocol_version = "HTTP/1.1"
    negotiated: Negotiated | None = None
    last_token: str | None = None

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """One message."""
        fake = self.host
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fake.wire += self.requestline.encode() + str(self.headers).encode() + body
        fake.awake.wait(60)
        if fake.status is not None:
            return self._reply(fake.status, b"")
        if not self._logged_in():
            return None
        sealed = self.headers.get("Content-Type", "").startswith("multipart/encrypted")
        if sealed and self.negotiated is not None:
            fake.sealed += 1
            body = self.negotiated.decrypt(body)
        if not body:
            return self._reply(200, b"")
        try:
            status, answer = fake.answer(body)
        except Cut:
            self.close_connection = True
            return None
        if sealed and self.negotiated is not None:
            kind = (
                'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";'
                'boundary="Encrypted Boundary"'
            )
            return self._reply(status, self.negotiated.encrypt(answer), {"Content-Type": kind})
        return self._reply(status, answer)

    def _logged_in(self) -> bool:
        header = self.headers.get("Authorization", "")
        if self.host.login == "basic":
            if security.basic(header):
                return True
            self._reply(401, b"", {"WWW-Authenticate": 'Basic realm="WSMAN"'})
            return False
        if self.negotiated is not None and self.negotiated.complete:
            return True
        _kind, _, token = header.partition(" ")
        self.negotiated = self.negotiated or Negotiated()
        try:
            answer = self.negotiated.step(base64.b64decode(token)) if token else b""
        except SpnegoError:
            self.negotiated = None
            self._reply(401, b"", {"WWW-Authenticate": "Negotiate"})
            return False
        shown = f"Negotiate {base64.b64encode(answer or b'').decode()}".strip()
        if self.negotiated.complete:
            # The request that ends the login is answered as well.
            self.last_token = shown
            return True
        self._reply(401, b"", {"WWW-Authenticate": shown})
        return False

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.last_token is not None:
            self.send_header("WWW-Authenticate", self.last_token)
            self.last_token = None
        if "Content-Type" not in (headers or {}):
            self.send_header("Content-Type", "application/soap+xml;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
