"""Compressed answers: decoded, although none was asked for, and never more than is kept."""

from __future__ import annotations

import gzip
import os
import resource
import tracemalloc
import zlib
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.integration.http_lab import Server, call, reply, with_server

TEXT = "größer, 日本, €\n" * 40


def _gzip(text: str) -> bytes:
    """Without the time, which would be a part of a test's name."""
    return gzip.compress(text.encode(), mtime=0)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def got(body: bytes, encoding: str, **arguments: Any) -> Outcome:
    async def ask(server: Server, opened: Resources) -> Outcome:
        return await call(opened, "http", url=f"http://127.0.0.1:{server.port}/", **arguments)

    kind = arguments.pop("kind", "text/plain; charset=utf-8")
    answer = reply(200, body, Content_Encoding=encoding, Content_Type=kind)
    outcome: Outcome = with_server({"/": answer}, ask)
    return outcome


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", _gzip(TEXT)),
        ("GZip", _gzip(TEXT)),
        ("x-gzip", _gzip(TEXT)),
        ("gzip", _gzip(TEXT[:99]) + _gzip(TEXT[99:])),
        ("deflate", zlib.compress(TEXT.encode())),
        ("deflate", raw_deflate(TEXT.encode())),
        ("identity", TEXT.encode()),
        ("", TEXT.encode()),
    ],
)
def test_what_was_compressed_comes_as_it_was(encoding: str, body: bytes) -> None:
    outcome = got(body, encoding)
    assert isinstance(outcome, Success)
    assert outcome.output["body"] == TEXT
    assert outcome.output["truncated"] is False


def test_compressed_json_is_json() -> None:
    outcome = got(gzip.compress(b'{"ok": [1]}'), "gzip", kind="application/json")
    assert isinstance(outcome, Success)
    assert outcome.output["json"] == {"ok": [1]}


def test_a_bomb_is_cut_where_any_answer_is() -> None:
    """No more of it is made than is kept."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b"x" * 2**20) for _ in range(128)) + packer.flush()
    assert len(bomb) < 140_000
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    outcome = got(bomb, "gzip", max_bytes=100_000)
    spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(outcome, Success)
    assert outcome.output["truncated"] is True
    assert len(outcome.output["body"]) == 100_000
    assert most < 32 * 2**20
    assert spent < 2


def test_parts_without_content_have_an_end_too() -> None:
    """Each empty gzip member is 20 bytes that make none."""
    outcome = got(gzip.compress(b"") * 100_000, "gzip", max_bytes=1_000)
    assert isinstance(outcome, Success)
    assert outcome.output["truncated"] is True


@pytest.mark.parametrize("body", [b"plain text", _gzip(TEXT)[:-8] + bytes(8), b"\x1f\x8b\x08\xff"])
def test_what_is_not_what_its_header_says_is_a_failure(body: bytes) -> None:
    outcome = got(body, "gzip")
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "output_unparsable"
    assert "gzip" in outcome.message


def test_an_answer_that_ends_early_is_not_whole() -> None:
    outcome = got(gzip.compress(os.urandom(5_000))[:-2_000], "gzip")
    assert isinstance(outcome, Success)
    assert outcome.output["truncated"] is True


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_no_body_is_no_fault(method: str) -> None:
    outcome = got(b"", "gzip", method=method)
    assert isinstance(outcome, Success)
    assert outcome.output["body"] == ""
    assert outcome.output["truncated"] is False


def test_an_encoding_that_is_not_known_is_left() -> None:
    outcome = got(b"\x8b\x03\x80hello\x03", "br")
    assert isinstance(outcome, Success)
    assert "hello" in outcome.output["body"]
