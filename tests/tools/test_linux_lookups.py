"""dig, host and nslookup on a server of the test's own that answers with codes of its choice."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from devstack.ports import free_port
from tests.tools.driven import answer, failure
from tests.tools.running import program

_PACKAGES = {"dig": "bind9-dnsutils", "host": "bind9-host", "nslookup": "bind9-dnsutils"}
_HERE: dict[str, Any] = {"allow_private_addresses": True, "network_scope": "127.0.0.0/8"}
#: Of the header (RFC 1035, section 4.1.1, RFC 4035, section 3): a response, recursion wanted and
#: available, checked; and of the record OPT (RFC 3225): signatures wanted.
_ANSWER, _WANTED, _CHECKED, _SIGNED = 0x8080, 0x0100, 0x0020, 0x8000
_SERVFAIL, _NXDOMAIN, _REFUSED = 2, 3, 5


@contextmanager
def server(code: int | None) -> Iterator[int]:
    """Its port; without a code it never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                question, peer = door.recvfrom(4096)
                if question == b"end":
                    return
                if code is not None:
                    # A response without records.
                    asked = struct.unpack(">H", question[2:4])[0]
                    flags = _ANSWER | code | (asked & _WANTED)
                    option = question.find(b"\0\0\x29", 12)
                    if option > 0 and question[option + 7] & (_SIGNED >> 8):
                        flags |= _CHECKED
                    if not asked & _WANTED:
                        flags = flags & ~0xF | _REFUSED
                    head = question[:2] + struct.pack(">HHHHH", flags, 1, 0, 0, 0)
                    end = question.index(b"\0", 12) + 5
                    door.sendto(head + question[12:end], peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"end", door.getsockname())
            thread.join(10)


def asked(port: int) -> dict[str, Any]:
    return {"name": "www.example.test", "server": "127.0.0.1", "port": port, "timeout": 1}


@pytest.mark.parametrize("tool", _PACKAGES)
def test_classes_of_failures(tool: str) -> None:
    program(tool, _PACKAGES[tool])
    refused = failure(tool, asked(free_port()), **_HERE)
    assert (refused.error_class, refused.transient) == ("connection_refused", True), refused
    with server(None) as port:
        silent = failure(tool, asked(port), **_HERE)
    assert (silent.error_class, silent.transient) == ("no_answer", True), silent


@pytest.mark.parametrize("tool", ["host", "nslookup"])
def test_a_name_that_is_not_there(tool: str) -> None:
    program(tool, _PACKAGES[tool])
    with server(_NXDOMAIN) as port:
        gone = failure(tool, asked(port), **_HERE)
    assert (gone.error_class, gone.transient) == ("not_found", False), gone
    assert "www.example.test" in gone.message
    # The server knows nothing of the name, which is no statement about it.
    for code, word in ((_SERVFAIL, "SERVFAIL"), (_REFUSED, "REFUSED")):
        with server(code) as port:
            unable = failure(tool, asked(port), **_HERE)
        assert unable.error_class == "exit_status", unable
        assert word in unable.message


def test_dig_answers_with_the_status() -> None:
    program("dig", "bind9-dnsutils")
    codes = {_NXDOMAIN: "NXDOMAIN", _SERVFAIL: "SERVFAIL", _REFUSED: "REFUSED"}
    for code, status in codes.items():
        with server(code) as port:
            output = answer("dig", asked(port), **_HERE)
        assert (output["status"], output["records"]) == (status, [])


def test_dig_asks_for_signatures_and_for_what_the_server_knows_itself() -> None:
    program("dig", "bind9-dnsutils")
    with server(0) as port:
        plain = answer("dig", asked(port), **_HERE)
        signed = answer("dig", {**asked(port), "dnssec": True}, **_HERE)
        own = answer("dig", {**asked(port), "recursion": False}, **_HERE)
    assert [item["authenticated"] for item in (plain, signed)] == [False, True]
    # The server refuses what it is not asked to find out.
    assert [item["status"] for item in (plain, signed, own)] == ["NOERROR", "NOERROR", "REFUSED"]
