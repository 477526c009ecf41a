"""One operating-system process of the stack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devstack.account import Account
from devstack.files import open_log
from devstack.identity import start_mark

_PDEATHSIG = Path(__file__).with_name("pdeathsig.py")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a process is started and stopped."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    #: Sent where the parent process ends without stopping this one; None: this one goes on.
    orphan_signal: signal.Signals | None = signal.SIGKILL
    grace_seconds: float = 30.0
    #: Sent when the grace is over.
    last_signal: signal.Signals = signal.SIGKILL


class Child:
    """A process that can be started, watched and stopped any number of times.

    Start it from a thread that ends after it: Linux sends the orphan signal when that thread ends.
    """

    def __init__(self, launch: Launch) -> None:
        """Nothing runs yet."""
        self.launch = launch
        self.mark: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its number while it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it in a session of its own, so that it gets no SIGINT from the terminal."""
        account = self.launch.account
        uid, gid = (account.uid, account.gid) if account else (-1, -1)
        orphan = [str(int(self.launch.orphan_signal or 0)), str(os.getpid()), str(uid), str(gid)]
        log = open_log(self.launch.log)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PDEATHSIG), *orphan, *self.launch.argv],
                env={**os.environ, **self.launch.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # The account may not be able to enter the folder in which we were called.
                cwd="/" if account else None,
            )
        finally:
            os.close(log)
        self.mark = start_mark(self._process.pid)

    def poll(self) -> int | None:
        """Its exit code once, when it has ended; None while it runs or when it does not."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            self._end_group(self._process.pid)
            self._forget()
        return code

    def signal_stop(self) -> None:
        """Send the stop signal, without waiting."""
        if self._process is not None:
            self._process.send_signal(self.launch.stop_signal)

    def wait_stopped(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic seconds) for its end, then send the last signal."""
        process = self._process
        if process is None:
            return
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(self.launch.last_signal)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self._end_group(process.pid)
        self._forget()

    def stop(self) -> None:
        """Send the stop signal and wait for the end; send the last signal after the grace."""
        self.signal_stop()
        self.wait_stopped(time.monotonic() + self.launch.grace_seconds)

    def kill(self) -> None:
        """End it at once, without any chance to clean up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._forget()

    def _end_group(self, group: int) -> None:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _forget(self) -> None:
        self._process = None
        self.mark = None
