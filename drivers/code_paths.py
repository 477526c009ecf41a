"""Configurations and sockets that a plan names: only below a folder that the operator named.

Such a path is code: a credentials file can start programs, and whatever answers at a socket decides
what a program does. On another machine (SSH) only its text can be compared.
"""

from __future__ import annotations

import asyncio
import os
import stat
from typing import Final

from drivers.context import Failure, RunContext
from drivers.errors import fail
from drivers.step_users import StepUsers
from runtime.config_folders import REFUSED, inside, plain
from toolmeta.invocation import Invocation

SETTING: Final = "RUNSTREAM_CONFIG_FOLDERS"


async def refusal(invocation: Invocation, context: RunContext, *, here: bool) -> Failure | None:
    """Why the program may not be started with these paths, None where it may."""
    resources = context.resources
    folders = resources.settings.config_folders
    for name, path in invocation.code_paths:
        reason = misspelt(path)
        if reason is None and here:
            reason = await asyncio.to_thread(outside, path, folders, resources.step_users)
        elif reason is None and not inside(plain(path) or "", folders):
            reason = _outside(path)
        if reason is not None:
            listed = ", ".join(folders) or "none"
            message = (
                f"{name}: {reason}; the operator of this executor names the folders of "
                f"configurations and sockets in {SETTING} ({listed})"
            )
            return fail(invocation, "capability_missing", message)
    return None


def misspelt(path: str) -> str | None:
    """Why a path of a plan is refused by its text alone."""
    usual = plain(path)
    if usual is None:
        return f"{path[:300]} is no absolute path without .."
    return f"{path[:300]} is a device or of a process" if inside(usual, REFUSED) else None


def _outside(path: str) -> str:
    return f"{path[:300]} is in no folder that may be used"


def outside(path: str, folders: tuple[str, ...], users: StepUsers) -> str | None:
    """Why what a path on this machine leads to may not be used; blocking.

    What is absent is for the program to say. Nothing from the folder on may be writable for the
    programs of steps, so none of them replaces it between this check and the start.
    """
    real = os.path.realpath(path)
    named = [folder for folder in map(os.path.realpath, folders) if inside(real, [folder])]
    if not named or inside(real, REFUSED):
        return _outside(path)
    at = max(named, key=len)
    remaining = [part for part in real[len(at) :].split("/") if part]
    while True:
        try:
            found = os.lstat(at)
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{path[:300]} cannot be looked at: {error.strerror}"
        if stat.S_ISSOCK(found.st_mode) and not remaining:
            # Whoever connects to it needs the right to write to it.
            return None
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return f"{path[:300]} is no file, folder or socket"
        if users.may_write(found):
            return f"{at[:300]} can be written by the programs of steps"
        if not remaining:
            return None
        at = f"{at}/{remaining.pop(0)}"
