"""The account that runs the database where this process is root: Postgres does not run as root."""

from __future__ import annotations

import getpass
import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import LocalStackError


@dataclass(frozen=True)
class Account:
    """An unprivileged user of this machine."""

    name: str
    uid: int
    gid: int


def login_name() -> str:
    """The login name of the user of this process; `operator` where there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"


def database_account() -> Account | None:
    """The account that runs Postgres; None is the account of this process."""
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
    """Make `folder` for the account alone, and return its real path.

    Only root can enter a checkout below root's home. There `folder` becomes a link to a
    substitute in /var/tmp.
    """
    if account is None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.is_symlink():
        if reaches(account, folder.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, account.uid, account.gid)
        elif folder.exists():
            raise LocalStackError(f"The user {account.name} can no longer reach {folder}.")
        else:
            folder.symlink_to(_substitute(folder, account))
    return folder.resolve()


def remove_folder(folder: Path) -> None:
    """Delete what `private_folder` made."""
    if folder.exists():
        shutil.rmtree(folder.resolve())
    folder.unlink(missing_ok=True)


def _substitute(folder: Path, account: Account) -> Path:
    digest = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]
    # Everyone may write to /var/tmp: the owner is checked, and others cannot replace the folder.
    substitute = Path("/var/tmp") / f"runstream-{digest}"  # noqa: S108
    if substitute.exists():
        if substitute.is_symlink() or substitute.stat().st_uid not in (0, account.uid):
            raise LocalStackError(f"{substitute} belongs to somebody else: remove it first.")
        # No link points to it: the state folder that it belonged to has been deleted.
        shutil.rmtree(substitute)
    substitute.mkdir(mode=0o700)
    os.chown(substitute, account.uid, account.gid)
    return substitute
