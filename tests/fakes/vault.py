"""A fake Vault server: the parts of its documented HTTP API that the executor uses.

Not Vault: it checks tokens, namespaces and paths as the API reference says, and knows no policies
but a list of paths that may be read. Source: Vault's API reference, KV engines, AppRole and
Kubernetes auth methods.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "root-token"
#: Role id and secret id of the login that is let in.
APPROLE = ("role-1", "secret-id-1")
NAMESPACE = "team-a"


@dataclass
class FakeVault:
    """Its content, and what it was asked."""

    #: By mount and path, of version 2 and 1.
    kv2: dict[str, dict[str, Any]] = field(default_factory=dict)
    kv1: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: What a token may not read.
    denied: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    #: Role and token of a service account.
    kubernetes: tuple[str, str] = ("runstream", "service-account-jwt")
    #: How many next requests it answers as a sealed server does.
    refuses: float = 0
    #: Where it sends every reader instead of answering.
    redirect: str | None = None
    reads: list[str] = field(default_factory=list)
    logins: int = 0
    url: str = ""

    @contextmanager
    def serving(self, tls: ssl.SSLContext | None = None) -> Iterator[FakeVault]:
        """Serve at `url`, on this machine only."""
        state = self

        class Handler(_Handler):
            vault = state

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)

    def token_without(self, path: str) -> str:
        """A token that may read everything but this path of the API."""
        self.denied.add(path)
        return TOKEN

    def revoke_logins(self) -> None:
        """Make what was given out invalid."""
        self.tokens = {TOKEN}

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Answer nothing but that it is sealed."""
        self.refuses = float("inf")
        try:
            yield
        finally:
            self.refuses = 0

    def answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:
        """Status and body of the answer to one request."""
        if self.refuses > 0:
            self.refuses -= 1
            return 503, {"errors": ["Vault is sealed"]}
        if headers.get("X-Vault-Namespace") not in (None, NAMESPACE):
            return 404, {"errors": ["no handler for route"]}
        if method == "POST" and path.startswith("/v1/auth/"):
            return self._login(path, body)
        if headers.get("X-Vault-Token") not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        where = path.removeprefix("/v1/")
        self.reads.append(where)
        if where in self.denied:
            return 403, {"errors": ["permission denied"]}
        mount, _, rest = where.partition("/")
        found = self.kv1.get(where)
        if found is not None:
            return 200, {"data": found, "lease_duration": 2_764_800}
        found = self.kv2.get(f"{mount}/{rest.removeprefix('data/')}")
        if found is None or not rest.startswith("data/"):
            return 404, {"errors": []}
        return 200, {"data": {"data": found, "metadata": {"version": 1}}}

    def _login(self, path: str, body: Any) -> tuple[int, Any]:
        given = {
            "/v1/auth/approle/login": (body.get("role_id"), body.get("secret_id")),
            "/v1/auth/kubernetes/login": (body.get("role"), body.get("jwt")),
        }.get(path)
        wanted = APPROLE if "approle" in path else self.kubernetes
        if given != wanted:
            return 400, {"errors": ["invalid role or secret ID"]}
        self.logins += 1
        token = f"token-{self.logins}"
        self.tokens.add(token)
        return 200, {"auth": {"client_token": token, "lease_duration": 3_600}}


class _Handler(BaseHTTPRequestHandler):
    vault: FakeVault

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, method: str) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or b"{}")
        if self.vault.redirect is not None:
            self.send_response(307)
            self.send_header("Location", self.vault.redirect + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status, answer = self.vault.answer(method, self.path, self.headers, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """Read."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Log in."""
        self._answer("POST")
