"""Every analysis says whether it has read all that there was: a limit or a hole is never silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.analysis import connections, dialogue, direction, dns, http
from drivers.analysis.catalogue import ANALYSES
from tests.unit.executors.test_analysis import Talk, _found, scapy

_LARGE = direction.KEEP_BYTES + 1_000
_PIECE = 1_400

Story = Callable[[int], Talk]


def _sent(talk: Talk, data: bytes, *, by_client: bool = True) -> Talk:
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        talk.say(piece) if by_client else talk.reply(piece)
    return talk


def _ftp(size: int) -> Talk:
    talk = Talk(21).open().reply(b"220 here\r\n").say(b"USER a\r\n").reply(b"331 password\r\n")
    listed = b"".join(b"211-%06d\r\n" % number for number in range(size // 12))
    talk.say(b"STAT\r\n")
    return (
        _sent(talk, listed + b"211 end\r\n", by_client=False).say(b"QUIT\r\n").reply(b"221 x\r\n")
    )


def _smtp(size: int) -> Talk:
    talk = Talk(25).open().reply(b"220 here\r\n").say(b"EHLO a\r\n").reply(b"250 here\r\n")
    talk.say(b"MAIL FROM:<a@example.org>\r\n").reply(b"250 ok\r\n")
    talk.say(b"RCPT TO:<b@example.org>\r\n").reply(b"250 ok\r\n")
    talk.say(b"DATA\r\n").reply(b"354 go\r\n")
    return _sent(talk, b"x" * size + b"\r\n.\r\n").reply(b"250 taken\r\n")


def _http(size: int) -> Talk:
    talk = Talk(80).open().say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    return _sent(talk, head + b"x" * size, by_client=False)


def _ssh(size: int) -> Talk:
    talk = Talk(22).open().say(b"SSH-2.0-a\r\n").reply(b"SSH-2.0-b\r\n")
    return _sent(talk, b"\x00" * size, by_client=False).say(b"\x00" * 20)


def _tls(size: int) -> Talk:
    records = b"\x17\x03\x03\x04\x00" + b"x" * 1024
    hello = b"\x16\x03\x01\x00\x04" + b"\x0e\x00\x00\x00"
    talk = Talk(443).open().say(hello).reply(hello)
    return _sent(talk, records * (size // len(records) + 1), by_client=False).say(records[:20])


def _dns(size: int) -> Talk:
    asked = bytes(scapy.DNS(id=7, rd=1, qd=scapy.DNSQR(qname="a.example.org")))
    answered = bytes(scapy.DNS(id=7, qr=1, qd=scapy.DNSQR(qname="a.example.org")))
    pair = [len(one).to_bytes(2, "big") + one for one in (asked, answered)]
    talk = Talk(53).open()
    _sent(talk, pair[0] * (size // len(pair[0]) + 1))
    return _sent(talk, pair[1] * (size // len(pair[1]) + 1), by_client=False)


def _plain(port: int) -> Story:
    return lambda size: _sent(Talk(port).open().say(b"x"), b"x" * size, by_client=False)


def _datagrams(size: int) -> Talk:
    talk = Talk(9).open()
    ends = scapy.IP(src="192.0.2.7", dst="192.0.2.8") / scapy.UDP(sport=9, dport=9)
    talk.frames = [scapy.Ether(src="00:00:5e:00:53:01", dst="00:00:5e:00:53:02") / ends / b"x"]
    return talk


#: What a session of each looks like, and whether it is read whatever its size.
_STORIES: dict[str, tuple[Story, bool]] = {
    "ftp": (_ftp, False),
    "smtp": (_smtp, True),
    "http": (_http, True),
    "ssh": (_ssh, False),
    "tls": (_tls, False),
    "dns": (_dns, False),
    "tcp": (_plain(9), True),
    "udp": (_datagrams, True),
}
_ROWS = {"http": "requests", "ftp": "sessions", "smtp": "sessions", "ssh": "sessions"}
_ROWS["tls"] = "sessions"


def _said(name: str, found: dict[str, Any]) -> tuple[bool, list[bool]]:
    rows = found[_ROWS[name]] if name in _ROWS else []
    return found["complete"], [row["complete"] for row in rows]


def test_every_analyser_is_in_the_table() -> None:
    others = {"summary", "conversations", "endpoints", "ports", "packets"}
    assert set(_STORIES) == set(ANALYSES) - others


@pytest.mark.parametrize("name", _STORIES)
def test_a_small_session_is_complete(name: str) -> None:
    whole, rows = _said(name, _found(name, _STORIES[name][0](4_000).frames))
    assert whole and all(rows) and len(rows) == (name in _ROWS)


@pytest.mark.parametrize("name", _STORIES)
def test_a_direction_beyond_the_limit_is_said(name: str) -> None:
    story, read = _STORIES[name]
    whole, rows = _said(name, _found(name, story(_LARGE).frames))
    assert whole == read and all(row == read for row in rows)


@pytest.mark.parametrize("name", [name for name in _STORIES if name not in ("tcp", "udp")])
def test_a_hole_is_said(name: str) -> None:
    frames = _STORIES[name][0](40_000).frames
    whole, rows = _said(name, _found(name, [*frames[:20], *frames[21:]]))
    assert not whole
    # A body with a hole is counted, so that what HTTP tells of it is true all the same.
    assert name == "http" or not any(rows)


@pytest.mark.parametrize("name", [name for name in _STORIES if name != "udp"])
def test_connections_beyond_the_limit_are_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    story = _STORIES[name][0]
    second = [frame.copy() for frame in story(4_000).frames]
    for frame in second:
        frame["IP"].src, frame["IP"].dst = (
            end.replace("192.0.2.7", "192.0.2.9") for end in (frame["IP"].src, frame["IP"].dst)
        )
        del frame["IP"].chksum, frame["TCP"].chksum
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    assert not _found(name, [*story(4_000).frames, *second])["complete"]


def test_lines_and_messages_beyond_the_limit_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "_LINES", 50)
    assert _said("ftp", _found("ftp", _ftp(4_000).frames)) == (False, [False])
    monkeypatch.setattr(http, "MAX_MESSAGES", 0)
    assert not _found("http", _http(10).frames)["complete"]
    monkeypatch.setattr(dns, "MAX_QUERIES", 0)
    assert not _found("dns", _dns(10).frames)["complete"]


def test_a_message_of_dns_that_ends_in_the_middle_is_said() -> None:
    talk = Talk(53).open().say(b"\x00\x40only the beginning")
    assert not _found("dns", talk.frames)["complete"]
    assert _found("dns", Talk(53).open().frames)["complete"]
