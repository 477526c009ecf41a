"""Files that are replaced in one step or acted on, and logs of bounded size."""

from __future__ import annotations

import os
from pathlib import Path

#: A log is cut when it is larger; one older part is kept beside it.
LOG_LIMIT_BYTES = 32 * 1024 * 1024


def write_atomically(path: Path, content: str) -> None:
    """Replace a file's content in one step, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    draft.replace(path)


def read_own(path: Path) -> bytes:
    """The content of a file that says what to connect to, load, start or end.

    Raises PermissionError where it is somebody else's: whoever may write to the folder of a
    command could else have it do these things as its user.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        return file.read()


def open_log(path: Path) -> int:
    """A descriptor that appends to the log, to be closed by the caller."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_log(path)
    # Appending is what makes cutting safe while a process writes.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def cut_log(path: Path) -> None:
    """Empty the log if it is too large, keeping its end as `<name>.1`."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size <= LOG_LIMIT_BYTES:
        return
    path.with_name(f"{path.name}.1").write_bytes(_tail_bytes(path, LOG_LIMIT_BYTES))
    os.truncate(path, 0)


def log_tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    try:
        text = _tail_bytes(path, 16 * 1024).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def _tail_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - count))
        return file.read(count)
