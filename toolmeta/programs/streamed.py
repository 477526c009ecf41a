"""A program whose lines are read while it runs, and which is told when the step is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

#: Of one line; what a longer one has beyond that is not read as a part of it.
MOST_LINE = 1024 * 1024
#: Set by the executor where a stop reaches this program alone, which then tells the others.
_STOPS_ALONE = "STEP_STOPS_ALONE"


def lines(
    argv: Sequence[str],
    env: dict[str, str],
    folder: str,
    take: Callable[[str], None],
) -> int:
    """Run a program and hand each line of its output, stderr too, to `take`; its exit code.

    Where the step is stopped, the program gets SIGINT once and may end in its own way: what it
    writes meanwhile is read too. The executor kills what does not end in time.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=folder,
    ) as process:
        assert process.stdout is not None  # noqa: S101
        reader = _Lines(process.stdout.fileno(), take)
        try:
            reader.read_to_end()
        except SystemExit:
            # A second interrupt would make terraform give up its state.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.environ.get(_STOPS_ALONE):
                process.send_signal(signal.SIGINT)
            reader.read_to_end()
            process.wait()
            raise
    return process.returncode


class _Lines:
    """The lines of a pipe, in bounded memory."""

    def __init__(self, pipe: int, take: Callable[[str], None]) -> None:
        self._pipe = pipe
        self._take = take
        self._kept = b""

    def read_to_end(self) -> None:
        """Hand on every line, the last one without an end too."""
        while True:
            data = os.read(self._pipe, 65_536)
            if not data:
                break
            *whole, self._kept = (self._kept + data).split(b"\n")
            for line in whole:
                self._hand_on(line)
            if len(self._kept) > MOST_LINE:
                self._hand_on(self._kept)
                self._kept = b""
        if self._kept:
            self._hand_on(self._kept)
            self._kept = b""

    def _hand_on(self, line: bytes) -> None:
        self._take(line[:MOST_LINE].decode("utf-8", "replace").rstrip("\r"))
