"""Parsers on output that was made to keep them busy: an attempt must not stop all others."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: A parser whose time grows with the square of this takes minutes.
_CHARACTERS = 128 * 1024
#: Of CPU, by the kernel; parsing takes some milliseconds.
_SECONDS = 5
_PROGRAM = """
import resource, sys
from toolmeta.parse import ParseError, parse
name, beginning, text, characters, seconds = sys.argv[1:]
begun = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
resource.setrlimit(resource.RLIMIT_CPU, (begun + int(seconds),) * 2)
try:
    parse(name, beginning + (text * int(characters))[: int(characters)] + "!", 0)
except ParseError:
    pass
"""


@pytest.mark.parametrize(
    ("parser", "beginning", "text"),
    [
        ("fail2ban", "", " "),
        ("ping", "", "9"),
        ("ping", "", "1 packets transmitted, 1 received "),
        ("ping", "", "= 1.1/1.1/"),
        ("top", "", "top:9"),
        ("top", "", "Tasks: 9a/"),
        ("ifconfig", "", ":"),
        ("ifconfig", "", "media: <"),
        ("sqlite", "", '""'),
        ("df", "Type Filesystem Mounted on\na", " "),
        ("df", "Type Filesystem Mounted on\n", "1 "),
        ("df", "Type Filesystem Mounted on\n 1 1 1 - 1 1 1 - ", "\u0300"),
        ("ss", "tcp LISTEN 0 0 a:1 b:*  users:((", '"a",pid=1,fd=3),("'),
        ("ss", "tcp LISTEN 0 0 a:1 b:*  users:((", "\ntcp L 0 0"),
        ("ls", "", '"a\\'),
        ("netstat", "", "tcp        0      0 "),
        ("docker_compose", "Name\n-----------\na  b", " "),
        ("docker_compose", "Name\n-----------\na  b", "  Exit 1"),
        ("lsb_release", "a  ", " "),
    ],
)
def test_its_time_does_not_grow_with_the_square(parser: str, beginning: str, text: str) -> None:
    words = [parser, beginning, text, str(_CHARACTERS), str(_SECONDS)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-300:]


def test_lists_of_a_usual_size_are_whole() -> None:
    from toolmeta.parse import parse

    banned = " ".join(f"192.0.2.{number % 256}" for number in range(900))
    found = parse(
        "fail2ban", f"Status for the jail: sshd\n`- Actions\n   `- Banned IP list:   {banned}", 0
    )
    assert len(found["banned"]) == 900
