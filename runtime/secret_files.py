"""Files that hold secrets: read where nobody else could have read or written them.

As Kubernetes and systemd mount secrets, a name may be a symbolic link, as long as the file is
within the folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

#: A secret larger than this is refused.
LARGEST_BYTES: Final = 64 * 1024
#: Of a file. The group may read one that belongs to root: so are mounted secrets of a container.
_FORBIDDEN: Final = stat.S_IRWXG | stat.S_IRWXO
_FORBIDDEN_OF_ROOT: Final = stat.S_IWGRP | stat.S_IRWXO
_FOLDER_FORBIDDEN: Final = stat.S_IWGRP | stat.S_IWOTH


class UnusableSecret(Exception):
    """The file holds no secret that may be used; the message is a sentence without any value."""

    def __init__(self, message: str, *, denied: bool) -> None:
        """`denied`: others could have read or written it, or it may not be read here."""
        super().__init__(message)
        self.denied = denied


def read(root: Path, places: Iterable[str], name: str, reader: str) -> str | None:
    """The text of the first of these files below `root`, without the line end after it.

    None where there is none; raises UnusableSecret. `name` and `reader` are for its message.
    """
    root = root.resolve()
    for place in places:
        try:
            real = (root / place).resolve(strict=True)
        except (OSError, RuntimeError):
            continue
        if real.is_dir():
            continue
        if not real.is_relative_to(root):
            message = f"The secret file/{name} is a link that leads out of RUNSTREAM_SECRETS_DIR."
            raise UnusableSecret(message, denied=True)
        _check_folders(root, real.parent, name, reader)
        data = _content(real, name, reader)
        if data is None:
            continue
        try:
            return data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            message = f"The secret file/{name} is not UTF-8 text."
            raise UnusableSecret(message, denied=False) from None
    return None


def _content(file: Path, name: str, reader: str) -> bytes | None:
    """The bytes of the file as opened, so that what is checked is what is read."""
    try:
        # A device or a pipe that was put there must not be waited for.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        message = f"The secret file/{name} may not be read by the user of {reader}."
        raise UnusableSecret(message, denied=True) from None
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        forbidden = _FORBIDDEN if status.st_uid or not os.geteuid() else _FORBIDDEN_OF_ROOT
        remedy = f"chmod 600, and chown it to the user of {reader} or root"
        _check(status, forbidden, f"The secret file/{name}", remedy)
        data = opened.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        message = f"The secret file/{name} is larger than {LARGEST_BYTES} bytes."
        raise UnusableSecret(message, denied=False)
    return data


def _check_folders(root: Path, folder: Path, name: str, reader: str) -> None:
    """Whoever may write a folder can replace the files in it."""
    remedy = f"chmod 755 or stricter, and chown it to the user of {reader} or root"
    while True:
        _check(folder.stat(), _FOLDER_FORBIDDEN, f"A folder of the secret file/{name}", remedy)
        if folder == root:
            return
        folder = folder.parent


def _check(status: os.stat_result, forbidden: int, what: str, remedy: str) -> None:
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & forbidden:
        mode = stat.S_IMODE(status.st_mode)
        raise UnusableSecret(
            f"{what} has the mode {mode:o} and the owner {status.st_uid}, so others may read or "
            f"replace it; {remedy}.",
            denied=True,
        )
