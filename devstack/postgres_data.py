"""The data folder of the local database."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from devstack.account import Account
from devstack.errors import LocalStackError
from devstack.postgres_binaries import PostgresBinaries

USER = "runstream"
DATABASE = "runstream"
_LOGIN_FILE = "runstream.login"
_SECONDS = 120


def make_data(binaries: PostgresBinaries, data: Path, account: Account | None) -> None:
    """Make a data folder with our user and database, protected by a random password.

    Every user of the machine can connect to loopback, so a login needs the password.
    """
    draft = data.with_name("data.draft")
    shutil.rmtree(draft, ignore_errors=True)
    password = data.with_name("password.draft")
    password.write_text(secrets.token_urlsafe(24))
    password.chmod(0o600)
    if account is not None:
        os.chown(password, account.uid, account.gid)
    _run(
        [
            str(binaries.initdb),
            *("-D", str(draft)),
            f"--username={USER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ],
        account,
    )
    single_user = [str(binaries.postgres), "--single", "-D", str(draft), "postgres"]
    _run(single_user, account, f"CREATE DATABASE {DATABASE};\n")
    password.rename(draft / _LOGIN_FILE)
    # Moved into place last, so that an interrupted attempt is not taken for data.
    draft.rename(data)


def data_version(data: Path) -> int | None:
    """The major version that wrote the data folder; None if there is none."""
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def read_password(data: Path) -> str:
    """The password of our user."""
    try:
        return (data / _LOGIN_FILE).read_text()
    except FileNotFoundError as error:
        raise LocalStackError(
            f"{data} holds no {_LOGIN_FILE}: remove the folder to start with an empty database."
        ) from error


def _run(argv: list[str], account: Account | None, stdin: str = "") -> None:
    try:
        answer = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalStackError(f"{argv[0]} took over {_SECONDS} s.") from error
    if answer.returncode != 0:
        raise LocalStackError(f"{argv[0]} failed: {answer.stderr or answer.stdout}")
