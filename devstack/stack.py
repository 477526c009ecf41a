"""Start, follow and stop a whole stack: broker, database and processes."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from authority.key_folder import KeyFolder
from authority.keys import KeyFault
from devstack.account import login_name, remove_folder
from devstack.child import Child, Launch
from devstack.cleanup import end_leftovers
from devstack.errors import LocalStackError
from devstack.files import log_tail, write_atomically
from devstack.identity import kill_if_same, wait_ended
from devstack.jars import Report, ensure_jars
from devstack.java import find_java
from devstack.processes import PREPARATION, ProcessSpec
from devstack.processes import processes as default_processes
from devstack.state import (
    ALREADY_RUNNING,
    ClientOptions,
    LaunchRequest,
    ProcessStatus,
    StackStatus,
    StateFolder,
)
from streams.vocabulary import Environment

_log = logging.getLogger(__name__)

#: More than the stop limits of processes, database and broker together.
_STOP_SECONDS = 90.0
_POLL_SECONDS = 0.05


class LocalStack:
    """A stack in one state folder; its supervisor is a process of its own.

    As a context manager it is started on entry and stopped on exit.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        processes: Sequence[ProcessSpec] | None = None,
        preparation: Sequence[ProcessSpec] = PREPARATION,
        test_tools: bool = False,
        environment: Environment = "dev",
        bootstrap_servers: str | None = None,
        database_url: str | None = None,
        ready_seconds: float = 120.0,
        report: Report = _log.info,
    ) -> None:
        """Describe the stack; a server that is given an address is used rather than started.

        Without `processes` it runs what `runstream up` runs. With `test_tools` plans may use the
        tools of the `test` domain, one of which runs any program. The executors run the steps of
        plans of `environment` only.
        """
        if processes is None:
            processes = default_processes(test_tools=test_tools)
        self._folder = StateFolder(state_dir)
        self._request = LaunchRequest(
            bootstrap_servers=bootstrap_servers,
            database_url=database_url,
            preparation=tuple(preparation),
            processes=tuple(processes),
            test_tools=test_tools,
            environment=environment,
            ready_seconds=ready_seconds,
        )
        self._report = report
        self._supervisor: Child | None = None

    def __enter__(self) -> Self:
        """Start; the stack ends with this process."""
        self.start(detach=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, also after an exception."""
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """Where Kafka clients connect."""
        return self._required().bootstrap_servers or ""

    @property
    def client_options(self) -> ClientOptions:
        """What Kafka clients need to connect, as librdkafka spells it; a password is among it."""
        return dict(self._required().client_options)

    @property
    def client_properties(self) -> Path:
        """The file of the same for kcat; there if the stack has its own broker."""
        return self._folder.client_properties

    @property
    def java_properties(self) -> Path:
        """The file of the same for Java clients; there if the stack has its own broker."""
        return self._folder.java_properties

    @property
    def database_url(self) -> str:
        """Where Postgres clients connect."""
        return self._required().database_url or ""

    @property
    def keys(self) -> KeyFolder:
        """The keys of the stack; made at its first start."""
        return self._folder.keys

    def status(self) -> StackStatus | None:
        """The last status written, whether or not the stack still runs; None if never started."""
        return self._folder.read()

    def process(self, name: str) -> ProcessStatus:
        """One process by its name (`kafka` and `postgres` included)."""
        for process in self._required().processes:
            if process.name == name:
                return process
        raise KeyError(name)

    def start(self, *, detach: bool = True) -> bool:
        """Start and wait until everything is ready; False if it was running already.

        Not detached, the stack ends with the thread that started it. If it cannot start, nothing
        is left running.
        """
        if self._runs_already():
            if self._required().phase != "ready":
                self._follow()
            return False
        if self._request.bootstrap_servers is None:
            # Here and not in the supervisor, so that the progress of a first download is shown.
            find_java()
            ensure_jars(self._report)
        if self._supervisor is not None:
            # A supervisor that was killed is a zombie until it is waited for.
            self._supervisor.poll()
        self._folder.make()
        self._make_keys()
        write_atomically(self._folder.launch, self._request.model_dump_json(indent=1))
        self._supervisor = Child(self._launch(detach))
        self._supervisor.start()
        try:
            return self._follow()
        except BaseException:
            # It may have ended before it wrote its status, so the status alone does not tell.
            self._supervisor.stop()
            self.stop()
            raise

    def wait(self) -> None:
        """Return when the supervisor has ended."""
        status = self._required()
        while status.is_running:
            time.sleep(0.2)

    def stop(self) -> bool:
        """Stop everything and check that no process is left; False if nothing was running."""
        status = self._folder.read()
        if status is None:
            return False
        running = status.is_running
        if running and status.supervisor_mark is not None:
            os.kill(status.supervisor_pid, signal.SIGTERM)
            if not wait_ended(status.supervisor_pid, status.supervisor_mark, _STOP_SECONDS):
                kill_if_same(status.supervisor_pid, status.supervisor_mark)
        # Read again: it may have started more since.
        left = end_leftovers(self._folder.read())
        if self._supervisor is not None:
            self._supervisor.stop()
        return running or bool(left)

    def remove(self) -> None:
        """Stop, and delete the state folder with all data."""
        self.stop()
        remove_folder(self._folder.postgres)
        shutil.rmtree(self._folder.path, ignore_errors=True)

    def _runs_already(self) -> bool:
        status = self._folder.read()
        if status is None or not status.is_running:
            return False
        if status.phase != "stopping" or status.supervisor_mark is None:
            return True
        return not wait_ended(status.supervisor_pid, status.supervisor_mark, _STOP_SECONDS)

    def _follow(self) -> bool:
        """Report progress until all is ready; False if another supervisor was faster."""
        ours = self._supervisor
        told = 0
        # The supervisor has its own limits; this one is for a supervisor that hangs.
        deadline = time.monotonic() + 3 * self._request.ready_seconds + _STOP_SECONDS
        while time.monotonic() < deadline:
            code = ours.poll() if ours is not None else None
            if code == ALREADY_RUNNING:
                ours = None
            status = self._folder.read()
            if status is not None and (ours is None or status.supervisor_pid == ours.pid):
                for line in status.progress[told:]:
                    self._report(line)
                told = len(status.progress)
                if status.phase == "ready" and status.is_running:
                    return ours is not None
                if ours is None and not status.is_running:
                    raise LocalStackError("The stack that was starting has stopped.")
            if code is not None and code != ALREADY_RUNNING:
                raise LocalStackError(self._why(status))
            time.sleep(_POLL_SECONDS)
        raise LocalStackError("The supervisor does not come up; see its log in the state folder.")

    def _why(self, status: StackStatus | None) -> str:
        if status is not None and status.error is not None:
            return status.error
        return f"The supervisor ended:\n{log_tail(self._folder.log('supervisor'))}"

    def _make_keys(self) -> None:
        """Make what is missing of the stack's keys; the operator's is that of the login name."""
        try:
            self._folder.keys.complete(login_name())
        except KeyFault as fault:
            raise LocalStackError(str(fault)) from None

    def _launch(self, detach: bool) -> Launch:
        return Launch(
            name="supervisor",
            argv=(sys.executable, "-m", "devstack.supervisor", str(self._folder.path)),
            log=self._folder.log("supervisor"),
            # It stops everything in order when its terminal or its test run ends.
            orphan_signal=None if detach else signal.SIGTERM,
            grace_seconds=_STOP_SECONDS,
        )

    def _required(self) -> StackStatus:
        status = self._folder.read()
        if status is None:
            raise LocalStackError("The stack has not been started.")
        return status
