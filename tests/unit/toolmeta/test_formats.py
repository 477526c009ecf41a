"""Formats accept what they name and nothing that a program could take for something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolmeta.durations import seconds_of
from toolmeta.formats import FORMATS
from toolmeta.hosts import split_port

GOOD = {
    "hostname": ["web-01", "a.example.org.", "xn--bcher-kva.example"],
    "ip": ["192.0.2.1", "2001:db8::1"],
    "cidr": ["10.0.0.0/24", "192.0.2.1", "2001:db8::/32"],
    "host": ["web-01", "::1"],
    "host-port": ["web-01", "web-01:2222", "192.0.2.1:22", "::1", "[::1]", "[2001:db8::1]:22"],
    "dns-name": ["_sip._tcp.example.org", "*.example.org", "."],
    "url": ["https://example.org", "http://[::1]:8080/a?b=c#d"],
    "email": ["ops+x@example.org"],
    "mailbox": ["a@b.c", "Night shift <a@b.c>", '"Doe, J. (ü)" <a@b.c>', "日本<a@b.c>"],
    "path": ["/etc/passwd", "./-x", "a b"],
    "absolute-path": ["/"],
    "systemd-unit": ["nginx.service", "user@1000.service", "dev-disk-by\\x2did.device"],
    "account": ["www-data", "1000", "host$"],
    "interface": ["eth0", "br-1a2b3c"],
    "identifier": ["a/b:c@d"],
    "header-text": ["", "Zürich ok"],
}
BAD = {
    "hostname": ["", "-a", "a_b", "127.1", "2130706433", "0x7f000001", "a..b", "a b", "a" * 64],
    "ip": ["1.2.3", "0177.0.0.1", "fe80::1%eth0", "-1"],
    "cidr": ["10.0.0.0/33", "-10.0.0.0/8"],
    "host": ["web 01", "-oProxyCommand=x", "@a", "a\n"],
    "host-port": [
        "web-01:",
        "web-01:0",
        "web-01:65536",
        "web-01:ssh",
        "[web-01]:22",
        "[192.0.2.1]:22",
        "[::1",
        "[::1]22",
        "a:1:2",
        "-a:22",
        ":22",
        "[]",
        "web-01:\u0662",
    ],
    "dns-name": ["-a", "@a", "+short", "a b"],
    "url": [
        "ftp://a",
        "//a",
        "http://",
        "http://u:p@a",
        "http://a:99999",
        "http://a b",
        "file:///x",
    ],
    "email": ["a", "a@b\nBcc: c@d", "a@b, c@d", "-a@b", "<a@b>"],
    "mailbox": ["<a@b.c>", "a@b.c <d@e.f>", "a <b@c.d>, e <f@g.h>", "a\n <b@c.d>", "-a <b@c.d>"],
    "path": ["", "-rf", "a\nb"],
    "absolute-path": ["etc", "/a\n"],
    "systemd-unit": ["-x", "a/b", "a b", "*"],
    "account": ["-x", "a:b", "a b"],
    "interface": ["-x", "a" * 16],
    "identifier": ["-x", "a b", ""],
    "header-text": ["a\r\nb", "a\x00"],
}


def test_the_tables_cover_every_format() -> None:
    assert set(GOOD) == set(BAD) == set(FORMATS)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_format(name: str) -> None:
    assert [text for text in GOOD[name] if not FORMATS[name].accepts(text)] == []
    assert [text for text in BAD[name] if FORMATS[name].accepts(text)] == []


@given(text=st.text())
def test_no_format_but_free_text_takes_a_leading_dash(text: str) -> None:
    for name, form in FORMATS.items():
        if name != "header-text":
            assert not form.accepts("-" + text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("", None), ("5", None), ("1.5s", None)],
)
def test_duration(text: str, seconds: int | None) -> None:
    assert seconds_of(text) == seconds


def test_split_port() -> None:
    assert split_port("web-01") == ("web-01", None)
    assert split_port("web-01:2222") == ("web-01", 2222)
    assert split_port("[2001:db8::1]:2222") == ("2001:db8::1", 2222)
    assert split_port("[2001:db8::1]") == ("2001:db8::1", None)
    assert split_port("2001:db8::1") == ("2001:db8::1", None)
    assert split_port("web-01:123456") == ("web-01:123456", None)
