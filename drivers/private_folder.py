"""The private folder of an attempt, measured and removed whatever its owner has made of it.

The owner can be hostile and the caller root. So no path below the folder is used: each directory is
opened by its name in an open one and no link is followed, and neither the recursion nor the number
of open files grows with what the owner has built. Standard library only.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from itertools import islice
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
#: Of a block in `st_blocks`.
_BLOCK: Final = 512
#: Folders within each other; more count as too many files.
DEEPEST: Final = 64
_AT_A_TIME: Final = 1_000
#: Somebody who still runs as the owner could add files without end.
_REMOVE_SECONDS: Final = 60.0


def measure(folder: str, most: int) -> tuple[int, int]:
    """Files and bytes in the folder; stops to count beyond `most` files."""
    try:
        top = os.open(folder, _DIRECTORY)
    except OSError:
        return 0, 0
    try:
        return _measure(top, most, DEEPEST)
    finally:
        os.close(top)


def _measure(directory: int, most: int, deeper: int) -> tuple[int, int]:
    files = used = 0
    folders: list[str] = []
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            files += 1
            if files > most:
                return files, used
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                used += found.st_blocks * _BLOCK
                if stat.S_ISDIR(found.st_mode):
                    folders.append(entry.name)
    if folders and deeper == 0:
        return most + 1, used
    for name in folders:
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=directory)
        except OSError:
            continue
        try:
            more = _measure(inner, most - files, deeper - 1)
        finally:
            os.close(inner)
        files, used = files + more[0], used + more[1]
        if files > most:
            break
    return files, used


def remove(folder: str) -> None:
    """Remove the folder and all that is in it; what cannot be removed stays. Raises nothing."""
    with suppress(OSError):
        top = os.open(folder, _DIRECTORY)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(folder)  # noqa: PTH106


def _empty(top: int) -> None:
    """Folders are moved to the top before they are emptied, so that depth does not matter."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    _permit(top)
    progress = True
    while progress and time.monotonic() < deadline:
        progress = False
        with os.scandir(top) as entries:
            found = [
                (one.name, one.is_dir(follow_symlinks=False)) for one in islice(entries, _AT_A_TIME)
            ]
        for name, folder in found:
            with suppress(OSError):
                if folder:
                    progress |= _flatten(top, name)
                    os.rmdir(name, dir_fd=top)
                else:
                    os.unlink(name, dir_fd=top)
                progress = True


def _flatten(top: int, name: str) -> bool:
    """Remove the files of a folder and move its folders to the top; whether one was moved."""
    try:
        directory = os.open(name, _DIRECTORY, dir_fd=top)
    except PermissionError:
        if os.geteuid() == 0:
            raise
        os.chmod(name, 0o700, dir_fd=top)
        directory = os.open(name, _DIRECTORY, dir_fd=top)
    moved = False
    try:
        _permit(directory)
        with os.scandir(directory) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        new = os.urandom(16).hex()
                        os.rename(entry.name, new, src_dir_fd=directory, dst_dir_fd=top)
                        moved = True
                    else:
                        os.unlink(entry.name, dir_fd=directory)
    finally:
        os.close(directory)
    return moved


def _permit(directory: int) -> None:
    """Let its owner write into it; root needs no permission."""
    if os.geteuid() != 0:
        os.fchmod(directory, 0o700)
