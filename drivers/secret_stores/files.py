"""Files of a folder: `<dir>/<tenant>/NAME` before `<dir>/NAME`, with their permissions checked.

As Kubernetes and systemd mount secrets, a name may be a symbolic link, as long as the file is
within the folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from drivers.secret_stores import LARGEST_BYTES
from drivers.secret_use import SecretError

#: Of a file. The group may read one that belongs to root: so are mounted secrets of a container.
_FORBIDDEN: Final = stat.S_IRWXG | stat.S_IRWXO
_FORBIDDEN_OF_ROOT: Final = stat.S_IWGRP | stat.S_IRWXO
_FOLDER_FORBIDDEN: Final = stat.S_IWGRP | stat.S_IWOTH


class SecretFiles:
    """Secrets as files; what anybody else could have written or can read is refused."""

    def __init__(self, directory: str) -> None:
        """Opens nothing."""
        self._directory = Path(directory)

    def read(self, name: str, tenant: str) -> str | None:
        """The text of the file without the line end after it."""
        root = self._directory.resolve()
        if tenant in (".", "..") or "/" in tenant or "\x00" in tenant:
            raise SecretError("The tenant's name is no name of a folder.", "secret_denied")
        for file in (root / tenant / name, root / name):
            try:
                real = file.resolve(strict=True)
            except (OSError, RuntimeError):
                continue
            if real.is_dir():
                continue
            if not real.is_relative_to(root):
                raise SecretError(
                    f"The secret file/{name} is a link that leads out of RUNSTREAM_SECRETS_DIR.",
                    "secret_denied",
                )
            _check_folders(root, real.parent, name)
            data = _content(real, name)
            if data is None:
                continue
            try:
                return data.decode().removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError:
                raise SecretError(f"The secret file/{name} is not UTF-8 text.") from None
        return None


def _content(file: Path, name: str) -> bytes | None:
    """The bytes of the file as opened, so that what is checked is what is read."""
    try:
        # A device or a pipe that was put there must not be waited for.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        message = f"The secret file/{name} may not be read by the user of the secret broker."
        raise SecretError(message, "secret_denied") from None
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        forbidden = _FORBIDDEN if status.st_uid or not os.geteuid() else _FORBIDDEN_OF_ROOT
        _check(status, forbidden, f"The secret file/{name}", "chmod 600, and chown it to")
        data = opened.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise SecretError(f"The secret file/{name} is larger than {LARGEST_BYTES} bytes.")
    return data


def _check_folders(root: Path, folder: Path, name: str) -> None:
    """Whoever may write a folder can replace the files in it."""
    while True:
        text = f"A folder of the secret file/{name}"
        _check(folder.stat(), _FOLDER_FORBIDDEN, text, "chmod 755 or stricter, and chown it to")
        if folder == root:
            return
        folder = folder.parent


def _check(status: os.stat_result, forbidden: int, what: str, remedy: str) -> None:
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & forbidden:
        mode = stat.S_IMODE(status.st_mode)
        raise SecretError(
            f"{what} has the mode {mode:o} and the owner {status.st_uid}, so others may read or "
            f"replace it; {remedy} the user of the secret broker or root.",
            "secret_denied",
        )
