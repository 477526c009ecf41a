"""As whom the programs of steps run on this machine.

An executor that is root starts each program under a user id of its own, from a range that no
account has: programs of two steps can then neither read nor signal each other, and a limit per user
is one per step. `RUNSTREAM_STEP_USER` names an account instead.

Source of the range: systemd, "Users, Groups, UIDs and GIDs on systemd Systems": those from
1879048192 on are unused.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from drivers import process_cgroups
from drivers.confinement import User
from runtime.settings import ExecutorSettings, SettingsError

FIRST_UID: Final = 1_879_048_192
#: So many that hardly one is used again while files that its program left are still there.
UIDS: Final = 1 << 24
#: Byte n is locked while the n-th user id is in use, also by other executors of this machine.
_LOCKS: Final = Path("/run/runstream-step-users.lock")
_TRIES: Final = 100
#: Of capabilities(7): without any of them a program could be started and not be ended.
_CAPABILITIES: Final = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
}
_SETTING: Final = "RUNSTREAM_STEP_USER"


class NoUserLeft(Exception):
    """No user id was found that is not in use."""


@dataclass(frozen=True, slots=True)
class StepUser:
    """As whom one program runs; `user` None is the executor's own user."""

    user: User | None
    #: HOME of the program; None is the folder of the attempt.
    home: str | None
    #: Held open while the user id is in use.
    lock: int | None = None
    #: Where each program gets a cgroup that bounds its processes, if any.
    cgroups: str | None = None

    @property
    def exclusive(self) -> bool:
        """Whether no other program has this user."""
        return self.user is not None and self.user.exclusive


class StepUsers:
    """Gives each program its user; decided once, from the settings and the executor's own user."""

    def __init__(self, settings: ExecutorSettings) -> None:
        """Raises SettingsError where programs cannot be started as the setting wants."""
        self._root_tools = settings.root_tools
        account = _account(settings.step_user)
        #: Programs get a user id of their own.
        self.exclusive = account is None and os.geteuid() == 0
        cgroups: str | None = None
        self._unbounded = False
        if os.geteuid() == 0 and (account is not None or self._root_tools):
            found = process_cgroups.find()
            cgroups = None if found is None else str(found)
            self._unbounded = found is None and not process_cgroups.bounded()
        self._own = StepUser(None, os.environ.get("HOME", "/"), cgroups=cgroups)
        self._account = None if account is None else replace(account, cgroups=cgroups)
        if self._unbounded and account is not None and account.user is None:
            raise SettingsError(
                f"{_SETTING}: nothing bounds how many processes a program of root starts: run the "
                "executor in a cgroup with pids.max (TasksMax= of systemd, pids_limit of compose)"
            )
        if self.exclusive:
            try:
                _check_range()
                _check_capabilities(Path("/proc/self/status").read_text(encoding="ascii"))
                os.close(_open_locks())
            except OSError as error:
                raise SettingsError(
                    f"{_SETTING} is not set, and programs cannot be given user ids of their own "
                    f"here ({error}): name an account without rights"
                ) from None

    def notice(self) -> str | None:
        """What an operator should know at the start, or None."""
        if self._unbounded and self._root_tools:
            return (
                "nothing bounds how many processes the tools of RUNSTREAM_ROOT_TOOLS start: run "
                "the executor in a cgroup with pids.max"
            )
        if self.switches(""):
            return None
        if os.geteuid() == 0:
            return (
                f"programs of steps run as root ({_SETTING}): they have every right on this "
                "machine, the executor's secrets included"
            )
        return (
            "programs of steps run as the executor's own user, since it is not root: they can read "
            "what that user can read"
        )

    def switches(self, tool: str) -> bool:
        """Whether programs of this tool run as another user than the executor."""
        if tool in self._root_tools:
            return False
        return self.exclusive or (self._account is not None and self._account.user is not None)

    def may_write(self, status: os.stat_result) -> bool:
        """Whether the program of some step may change a file or folder with this owner and mode.

        Programs that run as the executor's own user count only where everybody may: they have all
        that the executor has. Access lists are not looked at.
        """
        if status.st_mode & stat.S_IWOTH or _of_a_step(status.st_uid):
            return True
        account = None if self._account is None else self._account.user
        if account is not None and status.st_uid == account.uid:
            return True
        group = status.st_gid
        in_group = _of_a_step(group) or (account is not None and group == account.gid)
        return in_group and bool(status.st_mode & stat.S_IWGRP)

    @contextmanager
    def taken(self, tool: str) -> Iterator[StepUser]:
        """The user of a program of this tool, its own until the end of the block.

        Raises NoUserLeft.
        """
        if tool in self._root_tools:
            yield self._own
        elif self._account is not None or not self.exclusive:
            yield self._account or self._own
        else:
            taken = self._free()
            try:
                yield taken
            finally:
                if taken.lock is not None:
                    os.close(taken.lock)

    def _free(self) -> StepUser:
        for _ in range(_TRIES):
            number = secrets.randbelow(UIDS)
            locks = _open_locks()
            try:
                # The lock is one of the open file, and so also held by whoever gets it.
                wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
                fcntl.fcntl(locks, fcntl.F_OFD_SETLK, wanted)
            except (BlockingIOError, PermissionError):
                os.close(locks)
                continue
            uid = FIRST_UID + number
            return StepUser(User(uid, uid, ender=uid + UIDS), None, locks)
        raise NoUserLeft("the user ids for programs are in use")


def _of_a_step(number: int) -> bool:
    """Whether the number of a user or group is one that programs of steps get."""
    return FIRST_UID <= number < FIRST_UID + 2 * UIDS


def _open_locks() -> int:
    return os.open(_LOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _account(name: str | None) -> StepUser | None:
    """The account that the setting names; None where it names none."""
    if name is None:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise SettingsError(f"{_SETTING}: this machine has no account {name}") from None
    if entry.pw_uid == os.geteuid():
        return StepUser(None, os.environ.get("HOME", "/"))
    if os.geteuid() != 0:
        raise SettingsError(
            f"{_SETTING}: only an executor that runs as root can start programs as {name}"
        )
    return StepUser(User(entry.pw_uid, entry.pw_gid), entry.pw_dir)


def _check_range() -> None:
    """Whether this user namespace has the range (a container may have fewer ids)."""
    last = FIRST_UID + 2 * UIDS
    for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
        first, _, count = map(int, line.split())
        if first <= FIRST_UID and last <= first + count:
            return
    raise SettingsError(
        f"{_SETTING} is not set, and this machine has no user ids from {FIRST_UID} to {last}: "
        "name an account without rights"
    )


def _check_capabilities(status: str) -> None:
    """Whether this process may start, end and clean up programs of other users.

    `status` is the text of /proc/self/status; a container can have taken rights from root.
    """
    held = int(status.partition("\nCapEff:")[2].split(maxsplit=1)[0], 16)
    missing = [name for name, number in _CAPABILITIES.items() if not held & (1 << number)]
    if missing:
        raise SettingsError(
            f"{_SETTING} is not set, and this executor of root may not start programs as other "
            f"users: it lacks {', '.join(missing)}"
        )
