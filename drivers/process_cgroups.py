"""A cgroup for each attempt that the kernel's limit of processes per user does not bound.

RLIMIT_NPROC does not hold for root: the kernel's copy_process() exempts user id 0. For an account
of several steps it is no limit of one step. The pids controller counts and holds in both cases. A
program of root can leave its cgroup; one that multiplies by mistake does not. Standard library
only.

Sources: cgroups(7); the kernel's cgroup-v1/pids.rst and cgroup-v2.rst, "Threads".
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "runstream-"
_UNLIMITED: Final = "max"


@functools.cache
def find() -> Path | None:
    """Where this process can make cgroups with a limit and put a process into them, else None.

    It is tried once, with a process that is started for it, which takes some milliseconds.
    """
    for own, _ in _own():
        with suppress(OSError):
            _tried(own)
            return own
    return None


def bounded() -> bool:
    """Whether a limit of processes holds for this process and all that it starts."""
    for own, mount in _own():
        for folder in (own, *own.parents):
            with suppress(OSError):
                if (folder / "pids.max").read_text(encoding="ascii").strip() != _UNLIMITED:
                    return True
            if folder == mount:
                break
    return False


def make(below: str, processes: int) -> Path:
    """A new cgroup that takes at most so many processes and threads; raises OSError."""
    folder = Path(below) / f"{_PREFIX}{os.urandom(8).hex()}"
    folder.mkdir()
    try:
        kind = folder / "cgroup.type"
        if kind.exists() and kind.read_text(encoding="ascii").strip() == "domain invalid":
            kind.write_text("threaded", encoding="ascii")
        (folder / "pids.max").write_bytes(str(processes).encode())
    except OSError:
        remove(folder)
        raise
    return folder


def join(folder: Path) -> None:
    """Put this process into a cgroup; what it starts is then in it too. Raises OSError."""
    (folder / "cgroup.procs").write_bytes(b"0")


def remove(folder: Path) -> None:
    """Remove a cgroup of which all processes have ended; one that is in use stays."""
    for _ in range(20):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.005)  # The kernel has not let go of the last one yet.
        else:
            return


def _tried(own: Path) -> None:
    # Imported here: the launch server, which forks often, is to stay small.
    import subprocess

    control = own / "cgroup.subtree_control"
    if control.exists() and "pids" not in control.read_text(encoding="ascii").split():
        control.write_text("+pids", encoding="ascii")
    folder = make(str(own), 8)
    try:
        with subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE) as process:
            try:
                (folder / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
            finally:
                process.kill()
    finally:
        remove(folder)


def _own() -> Iterator[tuple[Path, Path]]:
    """The cgroups of this process that count processes, each with the folder of its mount."""
    if not Path("/proc/self/cgroup").exists():
        return
    paths: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, place = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = place
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        place, _, system = line.partition(" - ")
        root, mount = place.split()[3:5]
        kind, _, options = system.split(" ", 2)
        path: str | None
        if kind == "cgroup" and "pids" in options.split(","):
            path = paths.get("pids")
        elif kind == "cgroup2":
            path = paths.get("")
        else:
            continue
        if path is not None and (inner := _below(path, root)) is not None:
            own = Path(mount) / inner
            if (own / "pids.max").exists() or "pids" in _controllers(own) or kind == "cgroup":
                yield own, Path(mount)


def _below(path: str, root: str) -> str | None:
    """The part of a cgroup's path below the root of a mount; None where it is outside."""
    if ".." in path.split("/"):
        return None
    if root == "/":
        return path.lstrip("/")
    if path == root or path.startswith(f"{root}/"):
        return path[len(root) :].lstrip("/")
    return None


def _controllers(own: Path) -> list[str]:
    try:
        return (own / "cgroup.controllers").read_text(encoding="ascii").split()
    except OSError:
        return []
