"""Mail that is sent in chunks (BDAT, RFC 3030): counted, never read as commands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.executors.test_analysis import Talk, _found

_HEAD = b"Subject: s\r\n\r\n"
#: A text that reads like a dialogue of its own.
_TRAP = b"MAIL FROM:<forged@x>\r\nRCPT TO:<forged@x>\r\nDATA\r\n.\r\nAUTH PLAIN aHVudGVyMg==\r\n"


def _greeted(*extensions: bytes) -> Talk:
    talk = Talk(25).open().reply(b"220 mx\r\n").say(b"EHLO me\r\n")
    lines = [b"mx", *extensions]
    return talk.reply(
        b"".join(b"250-%s\r\n" % line for line in lines[:-1]) + b"250 %s\r\n" % lines[-1]
    )


def _begun(talk: Talk) -> Talk:
    talk.say(b"MAIL FROM:<a@x> BODY=BINARYMIME\r\n").reply(b"250 ok\r\n")
    return talk.say(b"RCPT TO:<b@x>\r\n").reply(b"250 ok\r\n")


def _told(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (one["sender"], one["recipients"], one["size_bytes"], one["status"], one["accepted"])
        for one in found["messages"]
    ]


@pytest.mark.parametrize("piece", [1, 7, 4_000])
def test_chunks_make_one_message_and_what_follows_is_read(piece: int) -> None:
    talk = _begun(_greeted(b"CHUNKING", b"BINARYMIME"))
    chunks = (_HEAD, _TRAP, b"\x00\xff\n" * 100)
    lines = (b"BDAT %d\r\n", b"bdat %d\r\n", b"BDAT %d LAST\r\n")
    sent = b"".join(line % len(chunk) + chunk for line, chunk in zip(lines, chunks, strict=True))
    for start in range(0, len(sent), piece):
        talk.say(sent[start : start + piece])
    talk.reply(b"250 got it\r\n250 got it\r\n").reply(b"250 queued\r\n")
    _begun(talk).say(b"DATA\r\n").reply(b"354 go\r\n").say(b"x\r\n.\r\n").reply(b"250 queued\r\n")
    found = _found("smtp", talk.say(b"QUIT\r\n").reply(b"221 bye\r\n").frames)
    size = sum(map(len, chunks))
    assert _told(found) == [("a@x", ["b@x"], size, 250, True), ("a@x", ["b@x"], 3, 250, True)]
    assert found["complete"] and found["sessions"][0]["complete"]
    assert "forged" not in repr(found) and "aHVudGVyMg" not in repr(found)
    assert found["anomalies"] == []


def test_an_empty_last_chunk_ends_the_message() -> None:
    talk = _begun(_greeted(b"CHUNKING")).say(b"BDAT %d\r\n" % len(_HEAD) + _HEAD)
    talk.reply(b"250 ok\r\n").say(b"BDAT 0 LAST\r\n").reply(b"250 queued\r\n")
    assert _told(_found("smtp", talk.frames)) == [("a@x", ["b@x"], len(_HEAD), 250, True)]


def test_a_large_chunk_and_a_hole_in_it_are_counted() -> None:
    def story() -> Talk:
        talk = _begun(_greeted(b"CHUNKING")).say(b"BDAT 1400000 LAST\r\n")
        for _ in range(1_000):
            talk.say(b"QUIT\r\n" + b"x" * 1_394)
        return talk.reply(b"250 queued\r\n").say(b"QUIT\r\n").reply(b"221 bye\r\n")

    found = _found("smtp", story().frames)
    assert _told(found) == [("a@x", ["b@x"], 1_400_000, 250, True)] and found["complete"]
    talk = story()
    del talk.frames[40]
    holed = _found("smtp", talk.frames)
    assert _told(holed) == _told(found) and not holed["complete"]
    # One that reaches beyond the chunk: what follows is not told.
    talk = story()
    del talk.frames[-4:-2]
    assert not _found("smtp", talk.frames)["complete"]


def test_a_refused_message() -> None:
    talk = _begun(_greeted(b"CHUNKING")).say(b"BDAT 5 LAST\r\nhello").reply(b"552 too large\r\n")
    found = _found("smtp", talk.say(b"RSET\r\n").reply(b"250 ok\r\n").frames)
    assert _told(found) == [("a@x", ["b@x"], 5, 552, False)]
    assert [one["kind"] for one in found["anomalies"]] == ["refused"]


@pytest.mark.parametrize("argument", [b"", b"x", b"-5", b"99999999999999999999999", b"5 last LAST"])
def test_what_is_no_chunk_hides_nothing(argument: bytes) -> None:
    talk = _begun(_greeted(b"CHUNKING")).say(b"BDAT %s\r\n" % argument).reply(b"501 syntax\r\n")
    talk = talk.say(b"DATA\r\n").reply(b"354 go\r\n").say(b"x\r\n.\r\n").reply(b"250 queued\r\n")
    assert _told(_found("smtp", talk.frames)) == [("a@x", ["b@x"], 3, 250, True)]


def test_a_server_without_chunks_reads_commands_and_so_does_the_analysis() -> None:
    talk = _begun(_greeted(b"PIPELINING")).say(b"BDAT 100000 LAST\r\n").reply(b"500 unknown\r\n")
    talk = talk.say(b"DATA\r\n").reply(b"354 go\r\n").say(b"x\r\n.\r\n").reply(b"250 queued\r\n")
    assert _told(_found("smtp", talk.frames)) == [("a@x", ["b@x"], 3, 250, True)]


def test_a_chunk_in_a_session_whose_beginning_was_not_captured() -> None:
    talk = _begun(Talk(25)).say(b"BDAT %d LAST\r\n" % len(_TRAP) + _TRAP).reply(b"250 queued\r\n")
    assert _told(_found("smtp", talk.frames)) == [("a@x", ["b@x"], len(_TRAP), 250, True)]
