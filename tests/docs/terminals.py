"""A command in a terminal, as a reader has it, and what a document says that it prints there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

COLUMNS: Final = 100
_LINES: Final = 40
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])")
#: What is another one at every run, and what a reader takes it for.
_VARYING: Final = (
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,}(?:…|\b)"), "HEX"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "#"),
    (re.compile(r"#\s*(?:ms|s|min)\b(?:\s+#\s*(?:ms|s)\b)?"), "TIME"),
    (re.compile(r"[─━╺╸]+"), "─"),
    (re.compile(r"\s+"), " "),
)


class Terminal:
    """A shell that runs one line, or several, in a terminal of its own."""

    def __init__(self, line: str, folder: Path, environment: Mapping[str, str]) -> None:
        """Start it."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, COLUMNS, 0, 0))
        try:
            self._program = subprocess.Popen(
                ["bash", "-o", "pipefail", "-c", line],
                cwd=folder,
                env={**environment, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)},
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        finally:
            os.close(slave)
        self._read = bytearray()
        self._reader = threading.Thread(target=self._take, daemon=True)
        self._reader.start()

    def answer(self, question: str, text: str, seconds: float) -> None:
        """Type this as soon as the question is there."""
        until = time.monotonic() + seconds
        while question not in self.text:
            assert self._program.poll() is None, f"it has not asked:\n{self.text}"
            assert time.monotonic() < until, f"it does not ask:\n{self.text}"
            time.sleep(0.05)
        os.write(self._master, text.encode())

    def ended(self, seconds: float) -> int:
        """The exit code, as soon as the program has ended."""
        code = self._program.wait(seconds)
        self._reader.join(seconds)
        return code

    @property
    def text(self) -> str:
        """What was shown so far, without colours and movements of the cursor."""
        shown = self._read.decode("utf-8", "replace")
        return _ESCAPES.sub("", shown).replace("\r", "\n")

    def __enter__(self) -> Self:
        """What runs ends with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._program.poll() is None:
            os.killpg(self._program.pid, signal.SIGTERM)
            try:
                self._program.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self._program.pid, signal.SIGKILL)
                self._program.wait(30)
        self._reader.join(30)
        os.close(self._master)

    def _take(self) -> None:
        # Reading a terminal that nobody writes to any more is an error (EIO).
        while True:
            try:
                part = os.read(self._master, 65_536)
            except OSError:
                return
            if not part:
                return
            self._read += part


def shape(line: str) -> str:
    """A line without what is another one at every run: ids, numbers, times, widths."""
    for form, name in _VARYING:
        line = form.sub(name, line)
    return line.strip()


def missing(told: list[str], shown: str) -> str | None:
    """The first line of a document that was not shown, or not after those before it."""
    rest = iter([shape(line) for line in shown.splitlines()])
    for line in told:
        wanted = shape(line)
        if wanted in ("", "…"):
            continue
        if wanted not in rest:
            return line
    return None
