"""The keys that may log in as a user: written as this user, whose folder may hold any link."""

from __future__ import annotations

import os
import sys

from toolmeta.programs.accounts import Account
from toolmeta.programs.report import Refused, sentence_of
from toolmeta.programs.tree import Tree

#: Bytes of the file that is there.
_LONGEST = 4 * 1024 * 1024


def ensure(account: Account, home: str, keys: list[str], only: bool) -> bool:
    """Bring the keys into the file; whether it was another one. With `only` no other ones stay."""
    if not os.path.isdir(home):
        raise Refused("not_found", f"{home}: the home for authorized_keys is not there")
    if os.geteuid() != 0 or account.uid == 0:
        return _write(home, keys, only)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.setgroups([account.gid])
            os.setgid(account.gid)
            os.setuid(account.uid)
            code = 1 if _write(home, keys, only) else 0
        except Refused as error:
            os.write(writing, error.sentence.encode("utf-8", "replace"))
        except OSError as error:
            os.write(writing, sentence_of(error).encode("utf-8", "replace"))
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writing)
    said = os.read(reading, 4_096).decode("utf-8", "replace")
    os.close(reading)
    _, status = os.waitpid(child, 0)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 3
    if code not in (0, 1):
        raise Refused("conflict", f"authorized_keys of {account.name}: {said or 'was not written'}")
    return code == 1


def _write(home: str, keys: list[str], only: bool) -> bool:
    at, made = Tree(home).folder((".ssh",))
    try:
        if made:
            os.fchmod(at, 0o700)
        try:
            file = os.open("authorized_keys", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at)
        except FileNotFoundError:
            before = ""
        else:
            with os.fdopen(file, "rb") as text:
                before = text.read(_LONGEST).decode("utf-8", "surrogateescape")
    finally:
        os.close(at)
    lines = before.splitlines()
    kept = [] if only else lines
    wanted = [*kept, *(key for key in dict.fromkeys(keys) if key not in kept)]
    if wanted == lines:
        return False
    content = "".join(f"{line}\n" for line in wanted).encode("utf-8", "surrogateescape")
    Tree(home).file((".ssh", "authorized_keys"), [content], 0o600, os.stat(home).st_mtime)
    return True
