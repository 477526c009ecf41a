"""Logins of the tools that speak HTTP, to a server of one user with one password."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from drivers.context import Failure
from tests.tools.driven import outcomes
from tests.tools.fakes.web import Handler, serving
from tests.tools.odd.inputs import over_every
from tests.tools.odd.test_sizes import HTTP
from toolmeta.registry import load

_USER, _PASSWORD = "watch", "s3cret: \u20ac"
TOOLS = [
    tool.name
    for tool in load().all()
    if tool.run.driver == "http" and "password" in tool.parameters
]


class _Guarded(Handler):
    """Counts whom it let in and whom not; a connection is for one request."""

    protocol_version = "HTTP/1.0"

    let_in = 0
    refused = 0

    def _answer(self) -> None:
        wanted = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
        known = self.headers.get("Authorization") == f"Basic {wanted}"
        if known:
            type(self).let_in += 1
        else:
            type(self).refused += 1
        self.send_response(200 if known else 401)
        if not known:
            self.send_header("WWW-Authenticate", 'Basic realm="odd"')
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = _answer


@contextmanager
def _guarded() -> Iterator[str]:
    _Guarded.let_in = _Guarded.refused = 0
    with serving(_Guarded) as url:
        yield url


@pytest.mark.parametrize(
    ("user", "password", "known"),
    [(_USER, _PASSWORD, True), ("nobody", _PASSWORD, False), (_USER, "other", False)],
)
@over_every(TOOLS, "password", "wrong user")
def test_who_is_let_in(tool: str, user: str, password: str, known: bool) -> None:
    with _guarded() as url:
        login = {"url": url, "username": user, "password": password}
        (outcome,) = outcomes(tool, {**HTTP[tool], **login}, allow_private_addresses=True)
        assert (_Guarded.let_in > 0, _Guarded.refused > 0) == (known, not known), outcome
    if not known:
        assert isinstance(outcome, Failure), outcome
        assert (outcome.error_class, outcome.transient) == ("http_status", False), outcome
        assert outcome.output is not None and outcome.output["status"] == 401
    assert password not in repr(outcome)
