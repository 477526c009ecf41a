"""The other end of the child process that evaluates CEL: started, asked, ended and replaced.

Whatever an expression does, `ask` returns within its limits; a child that exceeds them is ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson
from prometheus_client import Counter, Histogram

from runtime import clock
from runtime.cel.evaluation import MAX_VALUE_BYTES, LimitExceeded, Refused, Spent
from runtime.cel.reserve import Reserve

#: Processor time of one evaluation, its compilation included.
CPU_SECONDS: Final = 0.5
#: From the question to the answer; longer than the processor time, for a machine that is busy.
WALL_SECONDS: Final = 2.0
#: What an expression may look at, as JSON.
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
_MAX_ANSWER_BYTES: Final = 2 * MAX_VALUE_BYTES
_START_SECONDS: Final = 20.0
_PROGRAM: Final = str(Path(__file__).with_name("child.py"))

_SECONDS = Histogram(
    "runstream_expression_seconds",
    "From the question to the expression process to its answer",
    buckets=(0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 2),
)
_ENDED = Counter(
    "runstream_expression_limits_total", "Expressions that exceeded the limits of their process"
)


class Worker:
    """One child process at a time, started when it is first needed; safe from several threads."""

    def __init__(self) -> None:
        """Starts nothing."""
        self._reserve = Reserve()
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id of the child; None where none runs."""
        return None if self._child is None else self._child.pid

    def ask(self, text: str, context: dict[str, Any] | None, spent: Spent) -> Any:
        """The value of an expression; without a context None, once it is compiled.

        Adds its time to `spent`. Raises Refused, LimitExceeded, OSError where no child can be
        started.
        """
        with self._lock:
            left = self._reserve.left_after(spent.seconds)
            if left <= 0:
                raise LimitExceeded("time that the expressions due together may take")
            raw = _request(text, context, min(CPU_SECONDS, left))
            is_new = self._child is None
            if is_new:
                # Whoever asks first does not pay for it: on a busy machine a start takes seconds.
                self._start()
            began = clock.monotonic()
            try:
                answer = self._exchange(raw, is_new=is_new)
            finally:
                seconds = clock.monotonic() - began
                _SECONDS.observe(seconds)
                self._reserve.use(seconds)
                spent.seconds += seconds
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]

    def forked(self) -> None:
        """In a copy of this process: leave the child to the original."""
        self._child = None
        self._lock = threading.Lock()

    def close(self) -> int:
        """End the child, if there is one; the next question starts another.

        Returns its exit code, that of its own end where it had ended; 0 where there was none.
        """
        child, self._child = self._child, None
        if child is None:
            return 0
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return child.wait()

    def _exchange(self, raw: bytes, *, is_new: bool) -> dict[str, Any]:
        """Ask, and ask a new child once more where an old one ended.

        What earlier expressions left in its memory may have been too much for it.
        """
        while True:
            child = self._child or self._start()
            deadline = clock.monotonic() + WALL_SECONDS
            try:
                _write(child, len(raw).to_bytes(4) + raw, deadline)
                return _read(child, deadline)
            except (EOFError, BrokenPipeError):
                ended_by = self.close()
                what = "memory" if ended_by != -signal.SIGPROF else "processor time"
                if is_new or ended_by == -signal.SIGPROF:
                    self._exceeded(what)
                is_new = True
            except TimeoutError:
                self.close()
                self._exceeded(f"{WALL_SECONDS:g} s")
            except BaseException:
                # The answer may still come, and would be taken for that of the next question.
                self.close()
                raise

    def _exceeded(self, what: str) -> NoReturn:
        """The next child starts at once, so that its start counts for this expression."""
        _ENDED.inc()
        self._start()
        raise LimitExceeded(what)

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-I", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            bufsize=0,
            start_new_session=True,
        )
        self._child = child
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None  # noqa: S101
            os.set_blocking(pipe.fileno(), False)
        try:
            _read(child, clock.monotonic() + _START_SECONDS)
        except (EOFError, TimeoutError):
            self.close()
            raise OSError("the process that evaluates expressions does not start") from None
        return child


def _request(text: str, context: dict[str, Any] | None, seconds: float) -> bytes:
    request: dict[str, Any] = {"text": text, "seconds": seconds, "largest": MAX_VALUE_BYTES}
    if context is not None:
        request["context"] = context
    try:
        raw = orjson.dumps(request)
    except TypeError as error:
        raise Refused(f"what it looks at is not JSON: {error}") from None
    if len(raw) > MAX_REQUEST_BYTES:
        raise LimitExceeded(f"{MAX_REQUEST_BYTES} bytes to look at (there are {len(raw)})")
    return raw


def _write(child: subprocess.Popen[bytes], raw: bytes, deadline: float) -> None:
    assert child.stdin is not None  # noqa: S101
    left = memoryview(raw)
    while left:
        try:
            left = left[os.write(child.stdin.fileno(), left) :]
        except BlockingIOError:
            _wait(child.stdin.fileno(), select.POLLOUT, deadline)


def _read(child: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
    found = bytearray()
    wanted = 4
    assert child.stdout is not None  # noqa: S101
    while len(found) < wanted:
        try:
            part = os.read(child.stdout.fileno(), _MAX_ANSWER_BYTES)
        except BlockingIOError:
            _wait(child.stdout.fileno(), select.POLLIN, deadline)
            continue
        if not part:
            raise EOFError
        found += part
        if len(found) >= 4:
            wanted = 4 + min(int.from_bytes(found[:4]), _MAX_ANSWER_BYTES)
    answer: dict[str, Any] = orjson.loads(found[4:])
    return answer


def _wait(number: int, event: int, deadline: float) -> None:
    """Until the pipe is ready; raises TimeoutError."""
    poll = select.poll()
    poll.register(number, event)
    if not poll.poll(max(deadline - clock.monotonic(), 0) * 1_000):
        raise TimeoutError
