"""Run a program that gets a signal when its parent process ends (prctl PR_SET_PDEATHSIG).

Run as a script: `pdeathsig.py SIGNAL PARENT UID GID PROGRAM ARGUMENT...`. Standard library only, so
that it starts fast. The order matters: Linux clears the signal when a process changes its user.
Signal 0 asks for none, uid -1 keeps the user.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Change the user if one is given, request the signal, and execute the program."""
    signal_number, parent, uid, gid = (int(text) for text in arguments[:4])
    program = arguments[4:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if signal_number and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if signal_number and os.getppid() != parent:
        # The parent ended before the signal was requested, so it is never sent.
        sys.exit(1)
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
