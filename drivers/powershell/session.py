"""One pipeline on one host, from the connection to the deleted shell; blocks its thread.

Source of the exchange: [MS-PSRP] 3.1 and [MS-WSMV] 3.1, as pypsrp implements them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal
from xml.etree import ElementTree

import requests
from pypsrp.complex_objects import ObjectMeta, PSInvocationState
from pypsrp.exceptions import WinRMError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.serializer import Serializer
from pypsrp.shell import SignalCode

from drivers.powershell import clixml, pipeline
from drivers.powershell.collected import Collected
from drivers.powershell.connection import (
    OPERATION_SECONDS,
    ResponseTooLarge,
    Target,
    WinRmConnection,
    connect,
)

#: How long the host may delay an empty response; also how late a cancel is noticed.
_POLL_SECONDS: Final = 1
#: For a pipeline to reach a final state after the stop signal.
_STOP_SECONDS: Final = 10.0
#: Of one object while it arrives.
_OBJECT_BYTES: Final = 16 * 1024 * 1024
_RUNNING: Final = frozenset({PSInvocationState.RUNNING, PSInvocationState.STOPPING})
_STATES: Final = {
    PSInvocationState.STOPPED: "stopped",
    PSInvocationState.COMPLETED: "completed before it was stopped",
    PSInvocationState.FAILED: "failed before it was stopped",
}

Stream = Literal["stdout", "stderr"]
#: Errors of the connection, as opposed to those of PowerShell.
CONNECTION_ERRORS: Final = (requests.RequestException, WinRMError, ElementTree.ParseError, OSError)


class Stopped(Exception):
    """The session was stopped on request; `Session.evidence` has the result."""


class Session:
    """`stop` may be called from any thread; everything else only from the one that calls `run`."""

    def __init__(
        self,
        target: Target,
        commands: tuple[pipeline.Command, ...],
        emit: Callable[[Stream, bytes], None],
        progress: Callable[[float | None, str | None], None],
    ) -> None:
        """`emit` publishes what the pipeline writes; it may wait."""
        self._target = target
        self._commands = commands
        self._emit = emit
        self._progress = progress
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._connection: WinRmConnection | None = None
        #: Whether the pipeline was sent: from then on there may be an effect.
        self.began = False
        self.evidence: dict[str, Any] = {}

    def stop(self) -> None:
        """Request a stop; a pipeline that has not begun is not started."""
        with self._lock:
            self._stop.set()
            if not self.began:
                self.evidence["pipeline"] = "never started"

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._stop.is_set()

    def run(self) -> Collected:
        """Run the pipeline to its end; raises Stopped, and what pypsrp and requests raise."""
        connection = self._connection = connect(self._target)
        try:
            pool = RunspacePool(connection)
            # Objects as JSON values; pypsrp leaves some kinds of them as raw XML.
            pool._serializer = pool._fragmenter.serializer = _Objects()
            try:
                pool.open()
                return self._pipeline(pool)
            finally:
                self._delete(pool)
        finally:
            connection.close()

    def _pipeline(self, pool: RunspacePool) -> Collected:
        shell = PowerShell(pool)
        pipeline.add(shell, self._commands)
        with self._lock:
            if self._stop.is_set():
                raise Stopped
            self.began = True
        collected = Collected()
        shell.begin_invoke(remote_stream_options=0)
        self._set_timeout(_POLL_SECONDS)
        while shell.state in _RUNNING:
            if self._stop.is_set():
                self._end(pool, shell)
                raise Stopped
            shell.poll_invoke()
            self._take(pool, shell, collected)
        collected.failed = shell.state != PSInvocationState.COMPLETED
        return collected

    def _take(self, pool: RunspacePool, shell: PowerShell, collected: Collected) -> None:
        """Take what has arrived out of pypsrp, which would keep all of it in memory."""
        under_way = sum(len(part["data"]) for part in pool._fragmenter.incoming_buffer.values())
        if under_way > _OBJECT_BYTES:
            self._end(pool, shell)
            raise ResponseTooLarge
        streams = shell.streams
        out = b"".join(map(collected.add, shell.output))
        said = b"".join(map(collected.add_error, streams.error))
        for label, kept, records in (
            ("WARNING", collected.warnings, streams.warning),
            ("VERBOSE", collected.verbose, streams.verbose),
        ):
            for record in records:
                said += collected.add_record(kept, label, record.message)
        for message in streams.information:
            said += collected.add_record(collected.information, "INFO", message.message_data)
        if streams.progress:
            last = streams.progress[-1]
            percent = last.percent_complete
            fits = isinstance(percent, int) and 0 <= percent <= 100
            self._progress(float(percent) if fits else None, str(last.activity)[:200])
        shell.clear_streams()
        if out:
            self._emit("stdout", out)
        if said:
            self._emit("stderr", said)

    def _end(self, pool: RunspacePool, shell: PowerShell) -> None:
        """Signal the pipeline to stop and wait until the host confirms it."""
        evidence = self.evidence
        evidence["host"] = self._target.name
        try:
            self._set_timeout(OPERATION_SECONDS)
            pool.shell.signal(SignalCode.PS_CTRL_C, shell.id)
            self._set_timeout(_POLL_SECONDS)
            deadline = time.monotonic() + _STOP_SECONDS
            while shell.state in _RUNNING and time.monotonic() < deadline:
                shell.poll_invoke()
                shell.clear_streams()
        except CONNECTION_ERRORS as error:
            kind = type(error).__name__
            evidence["cancel_unconfirmed"] = f"{self._target.name} refused the signal ({kind})"
            return
        ended = _STATES.get(shell.state)
        evidence["pipeline"] = ended or "signalled"
        if ended is None:
            evidence["cancel_unconfirmed"] = (
                f"{self._target.name} did not say within {_STOP_SECONDS:g} s that the pipeline "
                "has stopped"
            )

    def _delete(self, pool: RunspacePool) -> None:
        """Delete the shell; where that fails the host does it after its idle time."""
        try:
            self._set_timeout(OPERATION_SECONDS)
            pool.close()
        except CONNECTION_ERRORS as error:
            self.evidence["shell"] = f"not deleted ({type(error).__name__})"
        else:
            self.evidence["shell"] = "deleted"

    def _set_timeout(self, seconds: int) -> None:
        """Set the time that the host has for its next responses."""
        if self._connection is not None:
            self._connection.operation_timeout = seconds


class _Objects(Serializer):
    """pypsrp's serializer, but for whole objects of the output."""

    def deserialize(
        self,
        element: ElementTree.Element | str,
        metadata: ObjectMeta | None = None,
        clear: bool = True,
    ) -> Any:
        """A JSON value for an object of the output, pypsrp's own value for the rest."""
        if clear and metadata is None and isinstance(element, str):
            return clixml.read(element)
        return super().deserialize(element, metadata, clear)
