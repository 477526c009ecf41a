"""The account that runs the database when we are root, which Postgres refuses to be."""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from runtime.local.errors import LocalStackError


@dataclass(frozen=True)
class Account:
    """An unprivileged user of this machine."""

    name: str
    uid: int
    gid: int


def database_account() -> Account | None:
    """Whom Postgres is run as: None means as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise LocalStackError(
        "Postgres refuses to run as root, and there is no user postgres or nobody to run it as. "
        "Start as another user, or set DATABASE_URL to use a database of yours."
    )


def reaches(account: Account | None, path: Path) -> bool:
    """Whether the account may pass through this folder or run this file."""
    if account is None:
        return True
    answer = subprocess.run(
        ["test", "-x", path],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        timeout=10,
        check=False,
    )
    return answer.returncode == 0


def private_folder(folder: Path, account: Account | None) -> Path:
    """Make `folder` for the account alone, or its stand-in where the account cannot reach it.

    A checkout below root's home is closed to everyone else, so the stand-in lies in /var/tmp,
    under a name derived from the folder's.
    """
    if account is None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not reaches(account, folder.parent):
        digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        folder = Path("/var/tmp") / f"runstream-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.lstat().st_uid
    if folder.is_symlink() or owner not in (0, account.uid):
        raise LocalStackError(f"{folder} belongs to somebody else (uid {owner}): remove it first.")
    os.chown(folder, account.uid, account.gid)
    return folder
