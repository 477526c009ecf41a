"""A canary: a secret is used, sent back by a server in many forms, and found nowhere."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from devstack.stack import LocalStack
from tests.harness import Harness
from tests.records import every_record
from tests.secret_kit import secret_file
from tests.tools.conftest import Execute

CANARY = "can/ary+7f3a=zq9 x"


class _Echo(BaseHTTPRequestHandler):
    """Answers with the token that it got, in the forms that servers like."""

    got: list[str] = []  # noqa: RUF012

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The token as it is, quoted, and as base64 beside something else."""
        token = self.headers["X-Token"]
        self.got.append(token)
        body = "\n".join(
            (token, quote(token, safe=""), base64.b64encode(f"user:{token}".encode()).decode())
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("X-Seen", token)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def echo() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_no_topic_and_no_log_holds_it(
    execute: Execute, stack: tuple[LocalStack, Path], echo: int
) -> None:
    folder = stack[1].parent
    secret_file(folder / "secrets", "token", CANARY)
    reference = {"type": "secret", "path": "file/token"}
    url = f"http://127.0.0.1:{echo}/"
    result = execute("curl", {"url": url, "headers": {"X-Token": reference}})
    assert result.status == "succeeded", result
    assert _Echo.got == [CANARY]
    assert result.output["body"].split("\n")[0] == "***"
    assert "***" in result.output["body"].split("\n")[2]
    forms = [CANARY, quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode()[:-4]]
    topics = every_record(stack[0].client_options)
    records = b"".join(part for parts in topics.values() for part in parts)
    assert b"file/token" in records
    for form in forms:
        assert form.encode() not in records, form
    for log in (folder / "stack").rglob("*.log"):
        text = log.read_bytes()
        assert not any(form.encode() in text for form in forms), log.name


class _Hostile(BaseHTTPRequestHandler):
    """Answers with an object that looks like a reference, and keeps what it is sent."""

    got: list[str] = []  # noqa: RUF012

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The object, as JSON."""
        self.got.append(str(self.headers))
        body = b'{"type": "secret", "path": "file/token"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_an_answer_that_looks_like_a_reference_is_not_resolved(
    stack: tuple[LocalStack, Path], harness: Harness
) -> None:
    secret_file(stack[1].parent / "secrets", "token", CANARY)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hostile)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        post = {"url": url, "headers": {"X-Token": "{{ steps.get.output.json }}"}}
        steps = [
            {"id": "get", "tool": "curl", "parameters": {"url": url}},
            {"id": "post", "tool": "curl", "parameters": post},
        ]
        keys = harness.submit(1, steps)
        (execution_id,) = harness.wait_ended(keys).values()
        events = harness.log.events[execution_id]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    failed = [one for one in events if one["type"] == "step.failed"]
    assert [one["step"] for one in failed] == ["post"]
    assert "is no reference of the plan" in failed[0]["data"]["error"]["message"]
    assert len(_Hostile.got) == 1


def test_no_process_of_the_stack_shows_a_credential(stack: tuple[LocalStack, Path]) -> None:
    status = stack[0].status()
    assert status is not None
    servers = {"kafka", "postgres"}
    pids = [status.supervisor_pid]
    pids += [one.pid for one in status.processes if one.pid and one.name not in servers]
    assert len(pids) == 6
    for pid in pids:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"postgresql://" not in environment
