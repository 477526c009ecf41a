"""Credentials leave the environment of a process at its start.

Programs that a step starts run as the same user, and read `/proc/PID/environ` of every process of
that user. What the kernel shows there is the memory of the first environment: deleting a variable
leaves it there, so that it is overwritten as well.

Sources: proc(5), fields 50 and 51 of /proc/pid/stat; PR_SET_DUMPABLE(2const).
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: Begins the name of every variable that a plan may refer to as env/NAME.
VARIABLE_PREFIX: Final = "SECRET_"
#: By these other programs are given credentials, which none of our processes uses. `PGPASSWORD` is
#: kept: an address of a database may leave its password to it.
_OF_OTHERS: Final = re.compile(
    r"(?:.*_)?(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|(?:ACCESS|PRIVATE|SECRET)_KEY|AUTH)"
    r"|MYSQL_PWD|SSHPASS"
)
_PR_SET_DUMPABLE: Final = 4
#: Of the first address and the end of the environment, counted from the state of the process.
_FIRST, _END = 47, 48


def is_credential(name: str) -> bool:
    """Whether a variable of this name is a secret of steps, or a credential of another program.

    Which settings of Runstream are secrets, the settings say (`settings.secret_variables`).
    """
    if name.startswith("RUNSTREAM_"):
        return False
    return name.startswith(VARIABLE_PREFIX) or _OF_OTHERS.fullmatch(name.upper()) is not None


def take(wanted: Callable[[str], bool]) -> dict[str, str]:
    """Remove the wanted variables from this process for good, and return them.

    Afterwards neither `os.environ`, a started program nor /proc/self/environ has them. Call it
    before any thread is started. Elsewhere than on Linux there is no /proc, and nothing more to do.
    """
    taken = {name: value for name, value in os.environ.items() if wanted(name)}
    for name in taken:
        del os.environ[name]
    if sys.platform == "linux":
        _overwrite(wanted)
    return taken


def forbid_reading() -> None:
    """Let no other process of this user read this one's memory, environment or open files.

    Linux only; a process with CAP_SYS_PTRACE (root) still may. No core is dumped either.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _overwrite(wanted: Callable[[str], bool]) -> None:
    """Fill the wanted entries of the first environment with NUL; nothing points to them now."""
    text = Path("/proc/self/stat").read_bytes()
    fields = text[text.rindex(b")") + 2 :].split()
    start, end = int(fields[_FIRST]), int(fields[_END])
    if not 0 < start < end:
        return
    at = start
    for entry in ctypes.string_at(start, end - start).split(b"\x00"):
        name = os.fsdecode(entry.partition(b"=")[0])
        if entry and wanted(name):
            ctypes.memset(at, 0, len(entry))
        at += len(entry) + 1
