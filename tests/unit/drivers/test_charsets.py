"""The text of a response: only the charsets of web pages are decoded, whatever a server names."""

from __future__ import annotations

import encodings

import httpx
import pytest

from drivers.http.exchange import Response


def text_of(body: bytes, content_type: str) -> str:
    headers = httpx.Headers({"Content-Type": content_type})
    return Response(200, headers, body, False, "http://x/", 0).text


@pytest.mark.parametrize(
    "charset",
    [
        # In a time that grows with the square of the body, in the event loop.
        "punycode",
        # Raise whatever they are given.
        *("idna", "undefined"),
        # No encodings of text, or none of the web.
        *("base64", "zlib", "utf-7", "raw_unicode_escape", "unicode_escape"),
    ],
)
def test_what_is_no_charset_of_a_web_page_is_read_as_utf_8(charset: str) -> None:
    assert text_of("né-9 \\x41 +AEE-".encode(), f"text/html; charset={charset}") == (
        "né-9 \\x41 +AEE-"
    )


def test_names_that_a_server_makes_up_are_not_remembered() -> None:
    known = len(encodings._cache)
    for number in range(50):
        assert text_of(b"ok", f"text/html; charset=made-up-{number}") == "ok"
    assert len(encodings._cache) == known


@pytest.mark.parametrize(
    "charset", ["latin1", "ISO-8859-15", "windows-1252", "Shift_JIS", '"utf-16"', "euc-kr", "gbk"]
)
def test_the_charsets_of_web_pages_are_decoded(charset: str) -> None:
    name = charset.strip('"')
    word = {"Shift_JIS": "日本", "euc-kr": "한국", "gbk": "中国"}.get(name, "né")
    assert text_of(word.encode(name), f"text/html; charset={charset}") == word
