"""Very much output: 1 GB in rows, and 100 MB on one line; less of both in CI.

Whatever a program writes, the executor keeps the beginning, counts all of it, says what is missing,
and takes no more memory for it than is stated here.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.output import PUBLISHED_BYTES
from drivers.values import KEPT_BYTES
from tests.sizes import LONG
from tests.tools.driven import for_everybody, outcomes, root_only
from tests.tools.fakes.web import Handler, serving
from tests.tools.odd.calls import CALLS
from tests.tools.odd.inputs import over_every
from tests.tools.odd.large import Measured, measured
from toolmeta.registry import load

#: More than is kept for a parser in any case.
ROWS = 2**30 if LONG else 4_400_000
LINE = 100_000_000 if LONG else 4_400_000
#: What very much output may take of memory: that which is kept, a few times over while it is
#: parsed, and what is on its way to the broker.
MOST_MEMORY = 256 * 2**20
#: For one output of 4 MiB; ten times what the slowest takes.
MOST_SECONDS = 60.0
#: Of a file that a tool reads.
FILE = 2**30 if LONG else 5_000_000


def _representatives() -> list[str]:
    """One tool for each way in which stdout is read; in full length all of them."""
    ways: dict[tuple[str | None, bool], str] = {}
    for tool in sorted(CALLS):
        definition = load().get(tool)
        assert definition is not None
        ways.setdefault((definition.run.parser, definition.run.parse_stderr), tool)
    return sorted(CALLS) if LONG else sorted(ways.values())


@functools.cache
def _measured(kind: str) -> Measured:
    size = LINE if kind == "line" else ROWS
    return measured(kind, size, _representatives(), 3_600 if LONG else 280)


def same_way(tool: str) -> str:
    """The tool that was measured for this one: its program's output is read in the same way."""
    definition = load().get(tool)
    assert definition is not None
    for name in _representatives():
        other = load().get(name)
        assert other is not None
        ways = [(one.run.parser, one.run.parse_stderr) for one in (definition, other)]
        if ways[0] == ways[1]:
            return tool if LONG else name
    raise AssertionError(tool)


def check(kind: str, tool: str, size: int) -> None:
    found = _measured(kind).tools[same_way(tool)]
    assert found.ends == ""
    assert found.stdout_bytes == size
    assert found.marked
    assert found.published_bytes == min(size, PUBLISHED_BYTES)
    # A sign may be two characters in JSON.
    assert found.kept_characters < 2.1 * KEPT_BYTES
    assert found.seconds - 20 * size / 2**30 < MOST_SECONDS


@pytest.mark.timeout(3_600 if LONG else 300)
@over_every(CALLS, "large")
def test_very_many_rows(tool: str) -> None:
    check("rows", tool, ROWS)


@pytest.mark.timeout(3_600 if LONG else 300)
@over_every(CALLS, "long line")
def test_a_very_long_line(tool: str) -> None:
    check("line", tool, LINE)


@pytest.mark.timeout(3_600 if LONG else 300)
@pytest.mark.parametrize("kind", ["rows", "line"])
def test_the_memory_of_all_of_them(kind: str) -> None:
    found = _measured(kind)
    assert found.after - found.before < MOST_MEMORY, (found.before, found.after)


#: The tools that print what a file holds, with what they ask.
_PRINT: dict[str, dict[str, Any]] = {
    "awk": {"program": "1"},
    "cat": {},
    "cut": {"bytes": "1-"},
    "grep": {"pattern": "x"},
    "head": {"lines": 100_000},
    "sed": {"script": "s/y/z/"},
    "sort": {},
    "tail": {"lines": 100_000},
    "uniq": {},
}


@pytest.fixture(scope="module")
def files() -> Iterator[dict[str, Path]]:
    """A file of one line, and one of many."""
    with for_everybody() as folder:
        row = b"x" * 99 + b"\n"
        made = {"line": folder / "line", "rows": folder / "rows"}
        with made["line"].open("wb") as line, made["rows"].open("wb") as rows:
            for _ in range(LINE // 100_000):
                line.write(b"x" * 100_000)
            for _ in range(FILE // 1_000_000):
                rows.write(row * 10_000)
        for path in made.values():
            path.chmod(0o644)
        yield made


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["line", "rows"])
@over_every(_PRINT, "large", "long line")
def test_a_large_file(files: dict[str, Path], tool: str, kind: str) -> None:
    """By the program itself; how long its output is follows from the file and what was asked."""
    root_only()
    asked = {**_PRINT[tool], "path": str(files[kind])}
    (outcome,) = outcomes(tool, asked)
    assert isinstance(outcome, Success), outcome
    size = files[kind].stat().st_size
    ended = 1 if kind == "line" and tool in ("cut", "sort", "awk", "uniq", "grep") else 0
    wanted = {
        # An end of line that the file does not have; a name or a count before each line.
        "uniq": 8 + size + ended if kind == "line" else 108,
        "head": min(size, 10_000_000),
        "tail": min(size, 10_000_000),
        "grep": None,
    }.get(tool, size + ended)
    if kind == "line" and tool in ("head", "tail"):
        wanted = size
    if wanted is None or wanted <= KEPT_BYTES:
        return
    assert outcome.output["truncated"] is True
    assert outcome.output["stdout_bytes"] == wanted
    lines = outcome.output.get("lines") or [outcome.output.get("text") or ""]
    if tool != "uniq":
        assert set(lines[0].strip("\n").replace("\n", "")) == {"x"}


_BODY = hashlib.sha256(b"body").hexdigest().encode() * 1_024


class _Endless(Handler):
    """Answers every request with as many bytes as the test says, on one line."""

    protocol_version = "HTTP/1.0"

    size = 0
    sent = 0

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(self.size))
        self.end_headers()
        for _ in range(self.size // len(_BODY) + 1):
            self.wfile.write(_BODY)
            type(self).sent += len(_BODY)

    do_GET = do_POST = _answer


@contextmanager
def endless(size: int) -> Iterator[str]:
    """The URL of such a server."""
    _Endless.size, _Endless.sent = size, 0
    with serving(_Endless) as url:
        yield url


#: What each asks of a server; the defaults where that is enough.
HTTP: dict[str, dict[str, Any]] = {
    "alertmanager": {},
    "blackbox_exporter": {"probe_target": "http://odd.test/"},
    "curl": {},
    "fluentd": {},
    "jaeger": {},
    "node_exporter": {},
    "prometheus": {"query": "up"},
    "slack_cli": {"message": "x"},
    "teams_cli": {"message": "x"},
    "telegraf": {},
    "webhook_sender": {"payload": {}},
    "zipkin": {},
}


@over_every(HTTP, "large", "long line")
def test_a_server_that_does_not_stop(tool: str) -> None:
    """Of 1 GB no more is read than is kept, whatever the server still has."""
    with endless(2**30) as url:
        name = "webhook_url" if tool in ("slack_cli", "teams_cli") else "url"
        (outcome,) = outcomes(tool, {**HTTP[tool], name: url}, allow_private_addresses=True)
        # What was on its way when the connection was closed.
        assert _Endless.sent < KEPT_BYTES + 32 * 2**20
    bounded(outcome)


def bounded(outcome: Outcome) -> None:
    """It says that there was more: as a failure by class, or in the output."""
    if isinstance(outcome, Failure):
        assert outcome.error_class in ("limit_exceeded", "output_unparsable"), outcome
        return
    assert outcome.output["truncated"] is True, str(outcome)[:500]
