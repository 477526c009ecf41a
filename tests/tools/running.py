"""What tests of programs share: programs that must be there, and servers that a test starts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_FOLDERS = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


def program(name: str, package: str) -> str:
    """The program's path; skips the test where it is not installed."""
    found = shutil.which(name, path=_FOLDERS)
    if found is None:
        pytest.skip(f"program {name} is not installed: apt install {package}")
    return found


def root() -> None:
    """Skips the test where it does not run as root."""
    if os.geteuid() != 0:
        pytest.skip("acts on accounts, rules or system folders: needs root")


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool], what: str, seconds: float = _START_SECONDS) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds:g} s"
        time.sleep(0.05)


@contextmanager
def server(
    argv: Sequence[str],
    ready: Callable[[], bool],
    log: Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server for as long as the block lasts; ended by its own id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
        )
    try:

        def up_or_gone() -> bool:
            assert process.poll() is None, f"{argv[0]} ended: {log.read_text()[-2000:]}"
            return ready()

        until(up_or_gone, f"{argv[0]} is ready")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
