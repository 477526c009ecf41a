"""The processes that an attempt started: found through /proc and ended.

A process belongs to an attempt if its environment holds the attempt's mark, if it is in the
session or group of the first one, if it writes to the attempt's pipes, or if it descends from such
a process. A process that escapes has cleared its environment, left the session, closed its output
and lost its parent: all four.

Standard library only, because it also runs as a script, alone: `reap` ends the processes of an
executor that was killed. A parent-death signal reaches only the direct child, this reaches all.

Source: proc(5), fields of /proc/pid/stat.
"""

from __future__ import annotations

import os
import signal
import sys
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

    def line(self) -> str:
        """As one word for the reaper; no part holds a blank."""
        return " ".join((self.mark, str(self.leader or 0), *sorted(self.pipes)))

    @classmethod
    def parse(cls, line: str) -> Traces:
        """The traces that `line` gave."""
        mark, leader, *pipes = line.split()
        return cls(mark, int(leader) or None, frozenset(pipes))


def find(traces: Traces, also: frozenset[Member] = frozenset()) -> set[Member]:
    """The running processes of an attempt; `also` are members known from an earlier search.

    Reads /proc once, a few milliseconds on an ordinary machine; call it in a thread.
    """
    own = os.getpid()
    stats = {
        int(entry.name): stat
        for entry in os.scandir(_PROC)
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None
    }
    wanted = f"{MARK}={traces.mark}".encode()
    leader = traces.leader
    found = {
        pid
        for pid, stat in stats.items()
        if (leader is not None and leader in (pid, stat.group, stat.session))
        or Member(pid, stat.started) in also
        or _marked(pid, wanted)
        or (traces.pipes and _writes_to(pid, traces.pipes))
    }
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    queue = list(found)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return {Member(pid, stats[pid].started) for pid in found if pid != own and not stats[pid].dead}


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


def end_at_once(traces: Traces) -> None:
    """SIGKILL until none is left, or a second has passed."""
    for _ in range(20):
        members = find(traces)
        if not members:
            return
        send(members, signal.SIGKILL)
        time.sleep(0.05)


def reap() -> None:
    """Read `+traces` and `-mark` lines; at the end of input end what is still listed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    listed: dict[str, Traces] = {}
    for line in sys.stdin:
        traces = Traces.parse(line[1:])
        if line.startswith("+"):
            listed[traces.mark] = traces
        else:
            listed.pop(traces.mark, None)
    for traces in listed.values():
        end_at_once(traces)


if __name__ == "__main__":
    reap()
