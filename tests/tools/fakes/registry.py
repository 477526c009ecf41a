"""A registry that only asks who one is: the first question of a login, over TLS."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.certificates import Authority
from tests.tools.fakes.web import Handler, serving

USER = "deployer"
PASSWORD = "41-größer & $(id) 'better'"


class _Registry(Handler):
    asked: list[str]

    def do_GET(self) -> None:
        """The API's first page, for the one user."""
        given = self.headers.get("Authorization")
        if given is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="tests"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.asked.append(given)
        right = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.answer(200 if given == f"Basic {right}" else 401, b"{}")


@contextmanager
def registry(authority: Authority) -> Iterator[tuple[str, list[str]]]:
    """Its host and port, and every login that was tried, while it runs."""

    class Bound(_Registry):
        asked: list[str] = []  # noqa: RUF012

    with serving(Bound, authority.server("127.0.0.1")) as url:
        yield urlsplit(url).netloc, Bound.asked
