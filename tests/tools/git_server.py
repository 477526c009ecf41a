"""Repositories behind HTTP, by git's own server program, with a login where one is wanted."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


def git(folder: Path, *words: str) -> str:
    """Run git there, as a person who has no configuration."""
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org",
         "-c", "protocol.file.allow=always", *words],
        cwd=folder, capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(folder)},
    )  # fmt: skip
    return done.stdout.strip()


@contextmanager
def served(folder: Path, login: str | None = None) -> Iterator[str]:
    """The address below which every repository of the folder is; `login` is user:password."""
    wanted = None if login is None else "Basic " + base64.b64encode(login.encode()).decode()

    class Backend(BaseHTTPRequestHandler):
        """One request becomes one run of `git http-backend`."""

        def do_GET(self) -> None:
            if wanted is not None and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="t"')
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            done = subprocess.run(
                ["git", "http-backend"],
                input=body, capture_output=True, timeout=60, check=False,
                env={
                    **os.environ, "GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                    "CONTENT_LENGTH": str(len(body)),
                },
            )  # fmt: skip
            head, _, answer = done.stdout.partition(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            fields = {name: value for name, value in lines}
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Not into the output of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
