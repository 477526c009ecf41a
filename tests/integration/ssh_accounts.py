"""Accounts of this machine for as long as a test lasts, to log in to over SSH."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Account:
    """A login name and its home."""

    name: str
    home: Path


@contextmanager
def account(
    shell: str,
    files: Mapping[str, str] | None = None,
    password: str | None = None,
    key: str | None = None,
) -> Iterator[Account]:
    """An account with this login shell and these files in its home; `key` may log in to it."""
    # Not below the folder of the test, which only root may enter.
    home = Path(tempfile.mkdtemp(prefix="ssh-account-"))
    name = f"rs{os.getpid()}n{next(_NUMBERS)}"
    hashed = "*"
    if password is not None:
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"],
            input=f"{password}\n", capture_output=True, text=True, timeout=20, check=True,
        ).stdout.strip()  # fmt: skip
    subprocess.run(
        ["useradd", "--no-create-home", "--no-log-init", "--home-dir", str(home),
         "--shell", shell, "--password", hashed, name],
        check=True, timeout=20, capture_output=True,
    )  # fmt: skip
    try:
        keys = {} if key is None else {".ssh/authorized_keys": f"{key}\n"}
        for file, text in {**(files or {}), **keys}.items():
            (home / file).parent.mkdir(parents=True, exist_ok=True)
            (home / file).write_text(text)
        subprocess.run(["chown", "--recursive", f"{name}:", str(home)], check=True, timeout=20)
        yield Account(name, home)
    finally:
        subprocess.run(["userdel", name], check=False, timeout=20, capture_output=True)
        shutil.rmtree(home)


@contextmanager
def sudoers(text: str) -> Iterator[Path]:
    """A file of rules for sudo."""
    file = Path(f"/etc/sudoers.d/rs{os.getpid()}n{next(_NUMBERS)}")
    file.write_text(text)
    file.chmod(0o440)
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)
