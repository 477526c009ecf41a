"""Servers that show every secret that they are given, in every form, beside a decoy."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import asyncssh
import psycopg
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from psycopg import sql

from tests.canary_forms import DECOY, shown, written
from tests.fakes.camera import Camera
from tests.fakes.camera_apis import Reply as CameraReply
from tests.fakes.psrp import security
from tests.fakes.psrp.remoting import Fault
from tests.fakes.psrp.server import FakeWindows
from tests.fakes.psrp.shells import Reply
from tests.fakes.ssh_host import told

#: One that every user may start; that of a virtual environment may lie in somebody's home.
_PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin") or sys.executable


@dataclass(frozen=True)
class Held:
    """A request that gets no answer before the test lets it go on."""

    arrived: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


class _Web(BaseHTTPRequestHandler):
    """Answers with what it was sent: /…fail with 500, /…json as JSON, else as text; /held late."""

    held: Held

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Show the address, and the values of a JSON object or a form."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        kind = self.headers["Content-Type"] or ""
        given = parse_qs(body) if "urlencoded" in kind else json.loads(body)
        values = [v[0] if isinstance(v, list) else str(v) for v in given.values()]
        url = f"http://{self.headers['Host']}{self.path}"
        if self.path.endswith("held"):
            self.held.arrived.set()
            self.held.go_on.wait(60)
        if self.path.endswith("json"):
            numbers = [int(one) for one in values if one.isdigit()]
            answer = json.dumps({"values": values, "numbers": numbers, "decoy": DECOY}).encode()
        else:
            answer = shown(*([url] if "hook" in self.path else values), DECOY)
        self.send_response(500 if self.path.endswith("fail") else 200)
        kind = "application/json" if self.path.endswith("json") else "text/plain"
        self.send_header("Content-Type", kind)
        for name, value in given.items():
            text = value[0] if isinstance(value, list) else str(value)
            if text.isprintable() and name.isalpha():
                self.send_header(f"X-Seen-{name}", text)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@contextmanager
def web_server() -> Iterator[tuple[str, Held]]:
    """Its address, and the request to /held."""
    waiting = Held()

    class Handler(_Web):
        held = waiting

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", waiting
    finally:
        waiting.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Mail:
    """Its answers hold the password of the login; a recipient `bad@…` is refused."""

    def __init__(self, password: str) -> None:
        forms = written(password)
        chosen = ("as it is", "base64", "base64, login", "url", "json", "hex")
        self.said = " ".join(forms[name].decode() for name in chosen) + f" {DECOY}"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("bad@"):
            return f"550 {self.said}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return f"250 {self.said}"


@contextmanager
def mail_server(port: int, user: str, password: str) -> Iterator[None]:
    """A mail server that takes this login only."""

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        good = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=good, handled=False)

    controller = Controller(
        _Mail(password), hostname="127.0.0.1", port=port, authenticator=authenticate,
        auth_require_tls=False,
    )  # fmt: skip
    controller.start()
    try:
        yield
    finally:
        controller.stop()


class _Login(asyncssh.SSHServer):
    """Takes one password."""

    def __init__(self, password: str) -> None:
        self._password = password

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == self._password


@contextmanager
def ssh_server(password: str) -> Iterator[tuple[int, str]]:
    """An SSH server that shows the password of its login; its port, and its line of known_hosts.

    Runs nothing: a command with the word `fail` fails.
    """

    async def answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
        failed = "fail" in (await told(process)).split()
        process.stdout.write(shown(password, DECOY))
        if failed:
            process.stderr.write(f"Error: refused {password}\n".encode())
        process.exit(int(failed))

    key = asyncssh.generate_private_key("ssh-ed25519")

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=lambda: _Login(password),
            process_factory=answer, encoding=None,
        )  # fmt: skip

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
        port = server.get_port()
        yield port, f"[127.0.0.1]:{port} {key.export_public_key().decode()}"
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(server.wait_closed(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@contextmanager
def windows_host(tls: Any) -> Iterator[FakeWindows]:
    """A Windows host that shows the password of its login, and fails where a script says so."""

    def answers(command: dict[str, Any]) -> Reply:
        text = shown(security.PASSWORD, DECOY).decode(errors="replace").replace("\x00", "")
        if "fail" in command["name"]:
            return Reply(terminating=Fault(f"refused {security.PASSWORD}\n{text}", 13, "Refused"))
        return Reply([text])

    host = FakeWindows(tls, answers=answers)
    try:
        yield host
    finally:
        host.close()


@contextmanager
def cameras(password: str) -> Iterator[tuple[Camera, Camera]]:
    """One that answers, and one that fails with a text that holds the password."""
    with ExitStack() as opened:
        good = opened.enter_context(Camera(password=password))
        bad = opened.enter_context(Camera(password=password))
        bad.instead = [CameraReply(500, "text/plain", shown(password, DECOY)) for _ in range(20)]
        yield good, bad


def fill_database(dsn: str, name: str, passwords: dict[str, str]) -> None:
    """A database with a role per password, which can read a table of that password's forms."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(dsn, dbname=name, autocommit=True) as connection:
        for number, (role, password) in enumerate(passwords.items()):
            who = sql.Identifier(role)
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(who, sql.Literal(password))
            )
            # The server's own log would show the texts of errors: it is no part of the system here.
            connection.execute(sql.SQL("ALTER ROLE {} SET log_min_messages = panic").format(who))
            connection.execute(
                sql.SQL("CREATE TABLE {} (number int, form text, digits bigint)").format(who)
            )
            digits = int(password) if password.isdigit() else number
            for at, one in enumerate((password, DECOY)):
                for form, text in written(one).items():
                    if not form.startswith("utf-16"):
                        row = (at, text.decode(), digits)
                        connection.execute(
                            sql.SQL("INSERT INTO {} VALUES (%s, %s, %s)").format(who), row
                        )
            connection.execute(sql.SQL("GRANT SELECT ON {0} TO {0}").format(who))


def programs(folder: Path, *names: str) -> Path:
    """Programs of tests/canary_programs.py in a folder that every user may read; their folder."""
    package = folder / "tests"
    package.mkdir()
    for module in ("canary_forms.py", "canary_programs.py"):
        shutil.copy(Path(__file__).parents[1] / module, package)
    made = folder / "programs"
    made.mkdir()
    for name in names:
        path = made / name
        path.write_text(
            f"#!{_PYTHON} -I\nimport sys\nsys.path.insert(0, {str(folder)!r})\n"
            "from tests import canary_programs\n"
            f"sys.exit(canary_programs.main({name!r}, {str(folder / 'passes')!r}, *sys.argv[1:]))\n"
        )
        path.chmod(0o755)
    return made
