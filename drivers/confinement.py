"""How a program that is about to start is confined: its user, its rights, its limits.

Every call acts on the calling process, between fork and exec. Standard library only.

Sources: prctl(2), setrlimit(2), credentials(7), proc(5) for oom_score_adj.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass

from drivers import processes

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_CLONE_NEWIPC = 0x08000000
_KEYCTL_JOIN_SESSION_KEYRING = 1
#: The number of keyctl(2), which libc has no function for.
_KEYCTL = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine)
#: Memory that one process may have beyond the limit of the attempt: what measures the attempt
#: comes first where it can, and then says which limit it was.
_HEADROOM = 1.25
#: The kernel takes such a process before any other when memory runs out.
_OOM_SCORE = b"900"
#: Steps at their limit that a user may have, where it is the user of several steps.
_SHARED = 4
_DEFAULT_ACTION = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class User:
    """As whom a program runs; None as this process."""

    uid: int
    gid: int
    #: A further id that belongs to this one where no other program has it: see `_end_all_of`.
    ender: int | None = None

    @property
    def exclusive(self) -> bool:
        """No other program has this user id, so that limits per user are limits of the attempt."""
        return self.ender is not None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the processes of one attempt may use together; open files and file size each."""

    processes: int
    memory_bytes: int
    open_files: int
    file_bytes: int
    scratch_files: int
    scratch_bytes: int


_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None


def _prctl(option: int, value: int) -> None:
    if _libc is not None and _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own; Linux only."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Be killed when the parent ends; raises ProcessLookupError where it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError


def end_with_process(parent: int) -> None:
    """Be ended when the parent ends, and not with the thread of it that started this process.

    The kernel tells of that thread. A program that replaces itself from another one, as those in Go
    do, goes on under the same id: this process is then a child of the other thread.
    """

    def ended(number: int, frame: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGTERM, ended)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise ProcessLookupError


def confine(user: User | None, limits: Limits, *, new_privileges: bool) -> None:
    """Take away what the program is not to have; irrevocable. Raises OSError."""
    for number in _DEFAULT_ACTION:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with suppress(OSError):  # Not there, or not for this user: the other limits still hold.
        # As bytes: a text file would have each of these processes import its codec.
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(score, _OOM_SCORE)
        finally:
            os.close(score)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_DATA, int(limits.memory_bytes * _HEADROOM))
    uid = os.geteuid() if user is None else user.uid
    if user is not None and user.exclusive:
        _lower(resource.RLIMIT_NPROC, limits.processes)
    elif uid != 0:
        # The kernel counts all processes of the user; it only has to stop what multiplies.
        _lower(resource.RLIMIT_NPROC, processes.threads_of(uid) + _SHARED * limits.processes)
    if user is not None:
        os.umask(0o077)
        _leave_keys()
        os.setgroups(())
        os.setresgid(user.gid, user.gid, user.gid)
        if user.ender is not None:
            _separate_ipc()
            _end_all_of(user.uid, user.ender)
        os.setresuid(user.uid, user.uid, user.uid)
    if not new_privileges:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def end_user(user: User) -> None:
    """Kill every process of a user id of its own, in one call that nothing outruns; forks.

    Raises OSError where no process can be forked.
    """
    if user.ender is None:
        return
    pid = os.fork()
    if pid == 0:
        try:
            _end_all_of(user.uid, user.ender)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _end_all_of(uid: int, ender: int) -> None:
    """Kill every process of a user id, and keep only the right to take that id.

    A killed supervisor can have left processes of the id behind, which must not meet the program
    that gets it next. The signal goes to all that this process may signal: so it takes the id as
    its effective one only, and `ender`, of which nothing else ever runs, as the others. Then it may
    signal processes of the two ids alone, and those of the id cannot signal it (kill(2)).
    """
    os.setresuid(ender, uid, ender)
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
    else:
        # It has a right too many: the signal would reach others.
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _leave_keys() -> None:
    """A new session keyring: that of the executor, with whatever keys it has, is inherited else."""
    if _libc is not None and _KEYCTL is not None:
        _libc.syscall(_KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, None)


def _separate_ipc() -> None:
    """System V memory, semaphores and queues of the program's own, which end with it.

    They would outlive it otherwise. Where this process may not make a namespace they are shared.
    """
    if _libc is not None:
        _libc.unshare(_CLONE_NEWIPC)


def _lower(kind: int, value: int) -> None:
    """Set both limits; never above what this process has, which needs a capability."""
    _, hard = resource.getrlimit(kind)
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (wanted, wanted))
