"""The reaper: a small process that ends what a killed executor left running."""

from __future__ import annotations

import subprocess
import sys

from drivers import processes
from drivers.processes import Traces


class Reaper:
    """Started with the first program; one that ended is replaced at the next call.

    The executor's end of the pipe closes however the executor ends, and the reaper then ends what
    is listed. It covers grandchildren; `setpriv --pdeathsig` covers the direct child even where the
    reaper is killed too.
    """

    def __init__(self) -> None:
        """Starts nothing."""
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: dict[str, Traces] = {}

    def watch(self, traces: Traces) -> None:
        """From now on end these processes; call it before the program is started, and after."""
        self._watched[traces.mark] = traces
        self._send(f"+{traces.line()}\n")

    def release(self, mark: str) -> None:
        """The attempt has ended: what it left running on purpose may stay."""
        traces = self._watched.pop(mark, None)
        if traces is not None:
            self._send(f"-{traces.line()}\n")

    def close(self) -> None:
        """End the reaper, after it has ended what is still listed."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate(timeout=10)

    def _send(self, line: str) -> None:
        if self._process is None or self._process.poll() is not None:
            self._start()
            return
        try:
            self._write(self._process, line)
        except BrokenPipeError:
            self._process.wait(5)
            self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", processes.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={},
            # SIGINT of a terminal is handled by the executor.
            start_new_session=True,
        )
        for traces in self._watched.values():
            self._write(self._process, f"+{traces.line()}\n")

    @staticmethod
    def _write(process: subprocess.Popen[bytes], line: str) -> None:
        if process.stdin is None:
            raise BrokenPipeError
        # A line is far shorter than the pipe's buffer, and the reaper only reads.
        process.stdin.write(line.encode("ascii"))
