"""The processes that an attempt started: found through /proc and ended.

A process belongs to an attempt if it descends from the attempt's supervisor, to which the kernel
gives every process that has lost its parent (PR_SET_CHILD_SUBREAPER). Where the supervisor was
killed, an attempt's processes are those with its user id, if it has one of its own; with its mark
in their environment; in the session or group of the first one; with its pipes as their output; and
what descends from such a process.

Standard library only: the supervisor, which is no process of the executor's own code, uses it too.

Source: proc(5), fields of /proc/pid/stat and /proc/pid/status.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

#: The environment variable that holds the mark.
MARK = "STEP_ATTEMPT"
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Member:
    """One process; pid and start time (clock ticks since boot) identify it."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    group: int
    session: int
    started: int
    dead: bool


def supported() -> bool:
    """Whether this system can be searched at all."""
    return (_PROC / "self" / "stat").exists()


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name in brackets may hold spaces and brackets itself.
    fields = text[text.rindex(b")") + 2 :].split()
    return _Stat(
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
        dead=fields[0] in (b"Z", b"X"),
    )


def threads_of(uid: int) -> int:
    """How many threads the processes of a user have, as RLIMIT_NPROC counts them."""
    count = 0
    if not supported():
        return count
    for entry in os.scandir(_PROC):
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                count += len(os.listdir(f"/proc/{entry.name}/task"))  # noqa: PTH208
        except OSError:
            continue
    return count


def _has_user(pid: int, uid: int) -> bool:
    """Whether the real user id is this one; the owner of /proc/pid is not always it."""
    try:
        status = (_PROC / str(pid) / "status").read_bytes()
    except OSError:
        return False
    found = status.partition(b"\nUid:")[2].split(maxsplit=1)
    return bool(found) and int(found[0]) == uid


def _marked(pid: int, mark: bytes) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return mark in environment.split(b"\x00")


def _writes_to(pid: int, pipes: frozenset[str]) -> bool:
    for descriptor in ("1", "2"):
        try:
            if str((_PROC / str(pid) / "fd" / descriptor).readlink()) in pipes:
                return True
        except OSError:
            continue
    return False


@dataclass(frozen=True, slots=True)
class Traces:
    """What identifies the processes of an attempt."""

    mark: str
    leader: int | None = None
    #: The pipes of its output, as /proc names them: `pipe:[inode]`.
    pipes: frozenset[str] = frozenset()
    #: The process of which all others descend; it is none of them.
    supervisor: Member | None = None
    #: The user id that no other process has; None where it is shared.
    uid: int | None = None


def identify(pid: int) -> Member | None:
    """The process that has this id now; None where there is none, or no /proc."""
    stat = _stat(pid)
    return None if stat is None else Member(pid, stat.started)


def find(traces: Traces, also: frozenset[Member] = frozenset()) -> set[Member]:
    """The running processes of an attempt; `also` are members known from an earlier search.

    Reads /proc once, a few milliseconds on an ordinary machine; call it in a thread.
    """
    stats = {
        int(entry.name): stat
        for entry in os.scandir(_PROC)
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None
    }
    own = {os.getpid()}
    found = {pid for pid, stat in stats.items() if Member(pid, stat.started) in also}
    supervisor = traces.supervisor
    known = stats.get(supervisor.pid) if supervisor is not None else None
    if supervisor is not None and known is not None and known.started == supervisor.started:
        own.add(supervisor.pid)
        queue = [*found, supervisor.pid]
    else:
        found |= {pid for pid, stat in stats.items() if _belongs(pid, stat, traces)}
        queue = [*found]
    found -= own
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found and child not in own:
                found.add(child)
                queue.append(child)
    return {Member(pid, stats[pid].started) for pid in found if not stats[pid].dead}


def _belongs(pid: int, stat: _Stat, traces: Traces) -> bool:
    """Whether a process shows a trace of the attempt, apart from its ancestors."""
    return bool(
        (traces.leader is not None and traces.leader in (pid, stat.group, stat.session))
        or (traces.uid is not None and _has_user(pid, traces.uid))
        or _marked(pid, f"{MARK}={traces.mark}".encode())
        or (traces.pipes and _writes_to(pid, traces.pipes))
    )


def send(members: set[Member], number: signal.Signals) -> set[Member]:
    """Send a signal to each that is still the same process; returns the forbidden ones."""
    forbidden: set[Member] = set()
    for member in members:
        stat = _stat(member.pid)
        if stat is None or stat.dead or stat.started != member.started:
            continue
        try:
            os.kill(member.pid, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            forbidden.add(member)
    return forbidden


def kill(traces: Traces, also: frozenset[Member] = frozenset()) -> set[Member]:
    """Stop every process and then kill it: one that multiplies cannot replace what is killed.

    Returns what was found. Bounded: 40 searches.
    """
    stopped: set[Member] = set()
    for _ in range(40):
        new = find(traces, also) - stopped
        if not new:
            break
        send(new, signal.SIGSTOP)
        stopped |= new
    send(stopped, signal.SIGKILL)
    return stopped


def end_at_once(traces: Traces, seconds: float) -> bool:
    """Kill until none is left, for at most `seconds`; whether none is."""
    deadline = time.monotonic() + seconds
    while kill(traces):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
