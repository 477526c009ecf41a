"""`curl` sends files: what a server gets, compared byte by byte."""

from __future__ import annotations

import asyncio
import email
import email.policy
import os
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome
from drivers.resources import Resources
from tests.driver_kit import Run, command, failed, succeeded
from tests.integration.http_lab import Server, reply, with_server
from tests.integration.transfer_lab import BODY, bound, curl, folder, sha

__all__ = ["folder"]


@pytest.mark.parametrize("size", [0, 1, len(BODY)])
def test_a_file_is_sent(folder: Path, size: int) -> None:
    source = folder / "report.pdf"
    source.write_bytes(BODY[:size])
    given: dict[str, Any] = {"method": "PUT", "upload_file": str(source)}
    outcome, server = curl(folder, {"/it": reply(201)}, **given)
    (asked,) = server.requests
    assert asked.method == "PUT" and asked.body == BODY[:size]
    assert asked.headers["content-length"] == str(size)
    assert asked.headers["content-type"] == "application/octet-stream"
    moved = {"path": str(source), "bytes": size, "sha256": sha(BODY[:size])}
    assert succeeded(outcome)["uploaded"] == [moved]


def test_headers_of_the_caller_beside_a_file(folder: Path) -> None:
    (folder / "x").write_bytes(b"hello")
    headers = {"Content-Type": "text/csv", "content-length": "2", "Transfer-Encoding": "chunked"}
    given: dict[str, Any] = {"method": "PUT", "upload_file": str(folder / "x"), "headers": headers}
    outcome, server = curl(folder, {"/it": reply(200)}, **given)
    succeeded(outcome)
    (asked,) = server.requests
    assert asked.body == b"hello" and asked.headers["content-type"] == "text/csv"
    assert "transfer-encoding" not in asked.headers


def test_files_and_fields_of_a_form(folder: Path) -> None:
    (folder / 'quote".bin').write_bytes(BODY)
    (folder / "empty").write_bytes(b"")
    files = {"file": str(folder / 'quote".bin'), "second": str(folder / "empty")}
    form = {"note": "ümlaut\r\n--x", "n": "1"}
    given: dict[str, Any] = {"method": "POST", "form_files": files, "form": form}
    outcome, server = curl(folder, {"/it": reply(200)}, **given)
    uploaded = succeeded(outcome)["uploaded"]
    (asked,) = server.requests
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + asked.body, policy=email.policy.HTTP)
    parts = {
        (part.get_param("name", header="content-disposition"), part.get_filename()):
        part.get_payload(decode=True)
        for part in message.iter_parts()
    }  # fmt: skip
    assert parts == {
        ("note", None): form["note"].encode(),
        ("n", None): b"1",
        ("file", "quote%22.bin"): BODY,
        ("second", "empty"): b"",
    }
    assert [(one["field"], one["sha256"]) for one in uploaded] == [
        ("file", sha(BODY)), ("second", sha(b"")),
    ]  # fmt: skip


def test_a_file_is_sent_again_after_a_challenge(folder: Path) -> None:
    (folder / "x").write_bytes(BODY)
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
    given: dict[str, Any] = {
        "method": "POST", "upload_file": str(folder / "x"), "username": "me",
        "password": "it", "authentication": "digest",
    }  # fmt: skip
    asked = reply(401, WWW_Authenticate=challenge)
    outcome, server = curl(folder, {"/it": asked}, **given)
    failed(outcome, "http_status")
    assert [one.body == BODY for one in server.requests] == [True, True]
    assert "authorization" in server.requests[1].headers


def test_an_answer_before_the_end_of_a_file(folder: Path) -> None:
    with (folder / "x").open("wb") as file:
        file.truncate(200_000_000)

    async def body(server: Server, opened: Resources) -> Outcome:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply(413, b"too large"))
            await writer.drain()
            while await reader.read(1_000_000):
                pass
            writer.close()

        listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        given = {"url": url, "method": "PUT", "upload_file": str(folder / "x")}
        try:
            return await Run(opened, bound(given), command(tenant="acme")).outcome()
        finally:
            listener.close()

    failed(with_server({}, body, transfer_folders=str(folder.parent)), "http_status")


def test_a_file_that_becomes_shorter_is_not_sent_as_whole(folder: Path) -> None:
    source = folder / "x"
    with source.open("wb") as file:
        file.truncate(50_000_000)

    async def body(server: Server, opened: Resources) -> Outcome:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            os.truncate(source, 10)
            while await reader.read(1_000_000):
                pass
            writer.close()

        listener = await asyncio.start_server(slow, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        given = {"url": f"http://127.0.0.1:{port}/", "method": "PUT", "upload_file": str(source)}
        try:
            return await Run(opened, bound(given), command(tenant="acme")).outcome()
        finally:
            listener.close()

    outcome = with_server({}, body, transfer_folders=str(folder.parent))
    assert isinstance(outcome, Failure) and not outcome.transient
