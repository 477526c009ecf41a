"""The process that starts the program of one attempt, watches it, and ends all that came of it.

Every descendant that loses its parent becomes a child of this process, whatever session, group,
environment and output it has: none escapes while this process lives. It ends them

- when a limit of the attempt is exceeded,
- when the executor closes the connection, which also happens when the executor dies,
- when it fails itself,

unless the executor has said before that what was left running may stay. Then it removes the private
folder of the attempt and ends.

One request comes over the connection, a JSON object of the fields of `Request` after its length.
The answers are JSON objects, one a line: first `pid`, `supervisor` and `started`, or `errno`; then
`exit` and `limit`, once the program has ended; at last `ended`, whether nothing is left that may
not be. Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from drivers import confinement, enclosed, private_folder, process_cgroups, processes, usage
from drivers.confinement import Limits, User
from drivers.enclosed import Tunnel, WayOut
from drivers.processes import Traces

#: Of the request in the first bytes, big-endian.
LENGTH_BYTES = 4
#: What the executor sends where processes that were left running may stay.
RELEASE = b"R"
_MEASURE_SECONDS = 0.1
#: Of its time, at most, this process measures: it comes before all others of the machine.
_MEASURE_SHARE = 0.1
#: __WALL of wait(2): whatever signal a child sends at its end.
_WALL = 0x40000000
#: Ended children that are taken at a time; between them it looks at everything else.
_REAPED = 1_000
_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """The program to start; `user` None is this process's own."""

    #: Tried in this order, until one may be started.
    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    env: dict[str, str]
    #: Made for the attempt, its working folder, and removed at its end.
    folder: str
    limits: Limits
    user: User | None
    new_privileges: bool
    #: Below which the attempt gets a cgroup of its own, if any.
    cgroups: str | None
    #: The only network that the program gets, where a namespace can be made; None: the machine's.
    way_out: WayOut | None = None

    @classmethod
    def parse(cls, text: bytes) -> Request:
        """The request that the executor wrote."""
        fields: dict[str, Any] = json.loads(text)
        user = fields.pop("user")
        fields["user"] = None if user is None else User(**user)
        fields["limits"] = Limits(**fields["limits"])
        way_out = fields.pop("way_out")
        if way_out is not None:
            way_out["tunnels"] = tuple(Tunnel(**tunnel) for tunnel in way_out["tunnels"])
        fields["way_out"] = None if way_out is None else WayOut(**way_out)
        for name in ("programs", "arguments"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


def supervise(connection: socket.socket, streams: list[int]) -> NoReturn:
    """Serve one attempt and end this process; `streams` become stdin, stdout and stderr."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    confinement.adopt_orphans()
    os.setsid()
    ended = _wake_on_children()
    request = Request.parse(_read(connection, int.from_bytes(_read(connection, LENGTH_BYTES))))
    cgroup: Path | None = None
    try:
        try:
            if request.cgroups is not None:
                cgroup = process_cgroups.make(request.cgroups, request.limits.processes)
            pid = _start(request, streams, cgroup)
        except OSError as error:
            _answer(connection, errno=error.errno or errno.EIO)
            sys.exit(0)
        finally:
            for descriptor in streams:
                os.close(descriptor)
        _Attempt(connection, request, pid, ended).watch()
    finally:
        private_folder.remove(request.folder)
        if cgroup is not None:
            process_cgroups.remove(cgroup)
    sys.exit(0)


class _Attempt:
    """A program that was started, and what came of it."""

    def __init__(self, connection: socket.socket, request: Request, pid: int, ended: int) -> None:
        self._connection = connection
        self._request = request
        self._pid = pid
        self._ended = ended
        #: Until the exit code was reported.
        self._running = True
        self._limit: str | None = None
        me = processes.identify(os.getpid())
        self._traces = Traces(request.env[processes.MARK], supervisor=me)
        started = None if me is None else me.started
        _answer(connection, pid=pid, supervisor=os.getpid(), started=started)

    def watch(self) -> None:
        """Return once the executor has let go, and nothing runs that may not."""
        released = False
        try:
            released = self._until_closed() == RELEASE
        finally:
            ended = released or self._end()
        _answer(self._connection, ended=ended)

    def _until_closed(self) -> bytes:
        """What the executor says at last; empty where it closed the connection."""
        measured = time.monotonic() + _MEASURE_SECONDS
        while True:
            waited: list[int | socket.socket] = [self._connection, self._ended]
            ready, _, _ = select.select(waited, [], [], max(0.0, measured - time.monotonic()))
            if self._ended in ready:
                os.read(self._ended, 4096)
            self._reap()
            if self._connection in ready:
                return _said(self._connection)
            # By the clock: a program can see to it that a child always ends.
            begun = time.monotonic()
            if begun >= measured:
                if self._limit is None:
                    self._measure()
                taken = time.monotonic() - begun
                measured = time.monotonic() + max(_MEASURE_SECONDS, taken / _MEASURE_SHARE)

    def _end(self) -> bool:
        """End everything; whether nothing is left."""
        self._reap()
        if _childless():
            return True
        if self._request.user is not None:
            with suppress(OSError):
                confinement.end_user(self._request.user)
        return processes.end_at_once(self._traces, _END_SECONDS)

    def _reap(self) -> None:
        """Take the exit codes of those that ended; report the program's."""
        for _ in range(_REAPED):
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG | _WALL)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid and self._running:
                self._running = False
                code = os.waitstatus_to_exitcode(status)
                reached = self._reached(code, used.ru_maxrss * 1024)
                _answer(self._connection, exit=code, limit=self._limit or reached)

    def _reached(self, code: int, most_bytes: int) -> str | None:
        """The limit at which the kernel has refused, where the program failed for it."""
        if code == -signal.SIGXFSZ:
            return "file_bytes"
        # It was refused more memory than it had, which is an error like any other to it.
        if code != 0 and most_bytes > self._request.limits.memory_bytes:
            return "memory_bytes"
        return None

    def _measure(self) -> None:
        limits = self._request.limits
        used = usage.measure(os.getpid(), limits.processes)
        if used.processes >= limits.processes:
            self._exceeded("processes")
        elif used.memory_bytes > limits.memory_bytes:
            self._exceeded("memory_bytes")
        else:
            files, size = private_folder.measure(self._request.folder, limits.scratch_files)
            if files > limits.scratch_files:
                self._exceeded("scratch_files")
            elif size > limits.scratch_bytes:
                self._exceeded("scratch_bytes")

    def _exceeded(self, limit: str) -> None:
        """End everything; the exit code is reported when the program is reaped."""
        self._limit = limit
        self._end()
        self._reap()


def _start(request: Request, streams: list[int], cgroup: Path | None) -> int:
    """The id of the program's process; raises the OSError of whatever did not succeed."""
    os.mkdir(request.folder, 0o700)  # noqa: PTH102
    if request.user is not None:
        user = request.user
        os.chown(request.folder, user.uid, user.gid, follow_symlinks=False)
        for descriptor in streams:
            # What is the executor's cannot be opened again as /dev/stdin; /dev/null is no file.
            if not stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.fchown(descriptor, user.uid, user.gid)
    parent = os.getpid()
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        # Else a program that multiplies would leave this process no time to end it.
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    report, failure = os.pipe()
    pid = os.fork()
    if pid == 0:
        number = errno.EINVAL
        try:
            os.close(report)
            os.setpriority(os.PRIO_PROCESS, 0, priority)
            if cgroup is not None:
                process_cgroups.join(cgroup)
            _become(request, streams, parent)
        except OSError as error:
            number = error.errno or errno.EIO
        finally:
            # Nothing of the parent's own may run here, whatever went wrong.
            os.write(failure, bytes([min(number, 255)]))
            os._exit(127)
    os.close(failure)
    told = os.read(report, 1)
    os.close(report)
    if told:
        os.waitpid(pid, 0)
        raise OSError(told[0], os.strerror(told[0]))
    return pid


def _become(request: Request, streams: list[int], parent: int) -> NoReturn:
    os.setsid()
    os.chdir(request.folder)
    way_out, listeners = request.way_out, None
    if way_out is not None:
        listeners = enclosed.enter(way_out, other_user=request.user is not None)
    confinement.confine(request.user, request.limits, new_privileges=request.new_privileges)
    # A change of user clears it.
    confinement.end_with_parent(parent)
    if way_out is not None and listeners is not None:
        enclosed.relay(listeners, way_out.socket)
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
    refused: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for program in request.programs:
        try:
            os.execve(program, (program, *request.arguments), request.env)  # noqa: S606
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            refused = error
    raise refused


def _wake_on_children() -> int:
    """A descriptor that becomes readable when a child has ended."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def _read(connection: socket.socket, count: int) -> bytes:
    """Exactly so many bytes; ends this process where the executor is gone."""
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return bytes(data)


def _childless() -> bool:
    """Whether nothing descends from this process: whatever loses its parent is its child."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return True
    return False


def _said(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1)
    except OSError:
        return b""


def _answer(connection: socket.socket, **fields: int | str | None) -> None:
    try:
        connection.sendall(json.dumps(fields).encode() + b"\n")
    except OSError:
        return  # The executor is gone; the end of the connection says the same.
