"""Two real servers for the demo: a web server to check and a mail server to write to."""

from __future__ import annotations

import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"healthy": true, "version": "1.2.3"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: the terminal shows the plans."""


def web_server(port: int) -> ThreadingHTTPServer:
    """A web server on loopback, in a daemon thread."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Mailbox:
    """Keeps every mail that the mail server takes."""

    def __init__(self) -> None:
        """Start empty."""
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take one mail (the name is aiosmtpd's)."""
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)  # noqa: S101
        self.mails.append(mail)
        return "250 taken"


def mail_server(port: int, mailbox: Mailbox) -> Controller:
    """A mail server on loopback, in a thread of its own; the caller stops it."""
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    return controller
