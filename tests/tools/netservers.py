"""Real servers for one network namespace; a program: `netservers.py ADDRESS FOLDER IPV6`.

DNS on 53 (UDP and TCP), HTTP on 80, TLS 1.3 on 443, TLS 1.2 on 8443, SMTP on 25, FTP on 21, SSH on
22, UDP echo on 9999; DNS (UDP) and HTTP also on the IPv6 address. Certificates are
`FOLDER/server.pem` (certificate and key). Says `ready` when all of them listen, and serves until it
is killed.
"""

from __future__ import annotations

import asyncio
import http.server
import socket
import socketserver
import ssl
import struct
import sys
import threading
from pathlib import Path
from typing import Any

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else ""
FOLDER = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()
SIX = sys.argv[3] if len(sys.argv) > 3 else ""
RECORDS = {b"www.lab.test", b"mail.lab.test"}


def dns_answer(query: bytes) -> bytes | None:
    """The answer of a small authoritative server; None where it stays silent."""
    labels, position = [], 12
    while query[position]:
        length = query[position]
        labels.append(query[position + 1 : position + 1 + length])
        position += 1 + length
    name = b".".join(labels).lower()
    question = query[12 : position + 5]
    kind = int.from_bytes(query[position + 1 : position + 3], "big")
    if name.startswith(b"silent"):
        return None
    code, answers = 0, []
    if name.startswith(b"fail"):
        code = 2
    elif name in RECORDS and kind in (1, 255):
        answers = [(1, bytes(int(part) for part in ADDRESS.split(".")))]
    elif name in RECORDS and kind == 15:
        answers = [(15, struct.pack(">H", 10) + b"\x04mail\x03lab\x04test\x00")]
    elif name.endswith(b".in-addr.arpa"):
        answers = [(12, b"\x03www\x03lab\x04test\x00")]
    elif name not in RECORDS:
        code = 3
    header = query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(answers), 0, 0)
    body = b"".join(
        b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for kind, data in answers
    )
    return header + question + body


class DnsUdp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, socket = self.request
        answer = dns_answer(data)
        if answer is not None:
            socket.sendto(answer, self.client_address)


class DnsTcp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = int.from_bytes(self.rfile.read(2), "big")
        answer = dns_answer(self.rfile.read(length))
        if answer is not None:
            self.wfile.write(len(answer).to_bytes(2, "big") + answer)


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, socket = self.request
        socket.sendto(data, self.client_address)


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200
        body = f"answer to {self.path}".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Threaded(socketserver.ThreadingMixIn):
    allow_reuse_address = True
    daemon_threads = True


class TcpServer(_Threaded, socketserver.TCPServer):
    pass


class UdpServer(_Threaded, socketserver.UDPServer):
    pass


class TlsServer(_Threaded, http.server.HTTPServer):
    """HTTP behind TLS of one version; the handshake is made in the connection's own thread."""

    def __init__(self, port: int, version: ssl.TLSVersion) -> None:
        super().__init__((ADDRESS, port), Web)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(FOLDER / "server.pem")
        context.set_alpn_protocols(["http/1.1"])
        self._context = context

    def get_request(self) -> Any:
        connection, client = self.socket.accept()
        return (
            self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False),
            client,
        )

    def handle_error(self, *_: Any) -> None:
        pass  # A client that refuses the certificate.


def ftp() -> Any:
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    files = FOLDER / "ftp"
    files.mkdir(exist_ok=True)
    (files / "report.txt").write_text("a report")
    authorizer = DummyAuthorizer()
    authorizer.add_user("backup", "s3cret-ftp", str(files), perm="elrw")

    class Handler(FTPHandler):  # type: ignore[misc]
        banner = "lab ftp"
        auth_failed_timeout = 0

    Handler.authorizer = authorizer
    return ThreadedFTPServer((ADDRESS, 21), Handler)


class Mail:
    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, ___: Any) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *_: Any) -> str:
        return "250 2.0.0 queued"


async def others() -> None:
    import asyncssh
    from aiosmtpd.smtp import SMTP

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    key = asyncssh.generate_private_key("ssh-ed25519")
    await asyncssh.listen(
        ADDRESS,
        22,
        server_host_keys=[key],
        server_factory=Server,
        process_factory=lambda process: process.exit(0),
    )
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: SMTP(Mail(), hostname="mail.lab.test"), ADDRESS, 25)
    print("ready", flush=True)
    await asyncio.Event().wait()


class SixUdpServer(UdpServer):
    address_family = socket.AF_INET6


class SixWebServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


def main() -> None:
    servers: list[Any] = [
        UdpServer((ADDRESS, 53), DnsUdp),
        TcpServer((ADDRESS, 53), DnsTcp),
        UdpServer((ADDRESS, 9999), Echo),
        SixUdpServer((SIX, 53), DnsUdp),
        SixWebServer((SIX, 80), Web),
        http.server.ThreadingHTTPServer((ADDRESS, 80), Web),
        TlsServer(443, ssl.TLSVersion.TLSv1_3),
        TlsServer(8443, ssl.TLSVersion.TLSv1_2),
        ftp(),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    asyncio.run(others())


if __name__ == "__main__":
    main()
