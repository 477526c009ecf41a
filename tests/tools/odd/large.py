"""What an executor makes of very much output, measured in a process of its own.

`python -m tests.tools.odd.large KIND BYTES TOOL...` feeds so many bytes to what reads the stdout of
each tool's program, and writes what came of it and the most memory that this process ever had.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drivers.context import RunContext, Success
from drivers.launcher import READ_BYTES
from drivers.output import OutputPublisher
from drivers.program_output import ProgramOutput, conclude
from drivers.resources import Resources
from streams import envelope
from tests.driver_kit import command, settings
from tests.tools.odd.place import Place
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

_ROOT = Path(__file__).parents[3]
_PIECES = {
    "rows": b"a line of: text, 1 2 3 and more words, as long as one of a log file: 2026-11-22\n",
    "line": b"x",
}


@dataclass(frozen=True)
class Large:
    """The end of one tool: of its output what says how much is missing."""

    ends: str
    seconds: float
    stdout_bytes: int | None
    published_bytes: int
    marked: bool
    kept_characters: int


class _Stdout:
    """So many bytes of one kind, in the pieces in which they are read from a pipe."""

    def __init__(self, kind: str, size: int) -> None:
        piece = _PIECES[kind]
        self._block = piece * (READ_BYTES // len(piece))
        self._left = size

    async def read(self, n: int, /) -> bytes:
        data = self._block[: min(n, self._left)]
        self._left -= len(data)
        return data


async def _publish(topic: str, key: bytes, value: bytes, headers: envelope.Headers) -> None:
    """As fast as a broker that is never behind."""


async def _large(tool: str, invocation: Invocation, kind: str, size: int) -> Large:
    asked = command(tool=tool)
    publisher = OutputPublisher(asked, topic="output", source="/test", publish=_publish)
    resources = Resources(settings())
    try:
        context = RunContext(asked, publisher, resources, lambda percent, message: None)
        begun = time.monotonic()
        written = ProgramOutput(context, merged=invocation.parse_stderr)
        await written.drain("stdout", _Stdout(kind, size))
        await publisher.close()
        code = invocation.success_codes[0]
        outcome = await conclude(invocation, written, code)
        taken = time.monotonic() - begun
    finally:
        await resources.close()
    output: dict[str, Any] = dict(outcome.output or {})
    published = publisher.published("stdout") or {"bytes": 0}
    return Large(
        "" if isinstance(outcome, Success) else outcome.error_class,
        taken,
        output.get("stdout_bytes"),
        published["bytes"],
        output.get("truncated") is True,
        len(json.dumps(output)),
    )


@dataclass(frozen=True)
class Measured:
    """Of every tool what came of it; and the most memory before and after, in bytes."""

    tools: dict[str, Large]
    before: int
    after: int


def measured(kind: str, size: int, tools: Sequence[str], seconds: float) -> Measured:
    """What such a process says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.odd.large", kind, str(size), *tools],
        capture_output=True, text=True, timeout=seconds, cwd=_ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(done.stdout)
    found = {tool: Large(**one) for tool, one in told.pop("tools").items()}
    return Measured(found, **told)


def _most_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1_024


def main(kind: str, size: int, tools: Sequence[str]) -> None:
    """What stands at the top of this file."""
    from tests.tools.odd.calls import CALLS

    place = Place(Path("/nowhere"), 9, 9, 9)
    bound = {}
    for tool in tools:
        definition = load().get(tool)
        assert definition is not None
        invocation = bind(definition, place.filled(CALLS[tool].good))
        assert isinstance(invocation, Invocation), invocation
        bound[tool] = invocation

    async def inside() -> dict[str, Large]:
        return {tool: await _large(tool, one, kind, size) for tool, one in bound.items()}

    before = _most_memory()
    found = {tool: asdict(one) for tool, one in asyncio.run(inside()).items()}
    json.dump({"tools": found, "before": before, "after": _most_memory()}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
