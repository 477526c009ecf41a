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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drivers.confinement import User
from runtime.settings import ExecutorSettings, SettingsError

FIRST_UID: Final = 1_879_048_192
UIDS: Final = 1_024
#: Files that are locked while their user id is in use, also by other executors of this machine.
_LOCKS: Final = Path("/run/runstream-step-users")
_SETTING: Final = "RUNSTREAM_STEP_USER"


class NoUserLeft(Exception):
    """Every user id of the range is in use."""


@dataclass(frozen=True, slots=True)
class StepUser:
    """As whom one program runs; `user` None is the executor's own user."""

    user: User | None
    #: HOME of the program; None is the folder of the attempt.
    home: str | None
    #: Held open while the user id is in use.
    lock: int | None = None

    @property
    def exclusive(self) -> bool:
        """Whether no other program has this user."""
        return self.user is not None and self.user.exclusive


class StepUsers:
    """Gives each program its user; decided once, from the settings and the executor's own user."""

    def __init__(self, settings: ExecutorSettings) -> None:
        """Raises SettingsError where programs cannot be started as the setting wants."""
        self._own = StepUser(None, os.environ.get("HOME", "/"))
        self._root_tools = settings.root_tools
        self._next = os.getpid()
        self._account = _account(settings.step_user)
        #: Programs get a user id of their own.
        self.exclusive = self._account is None and os.geteuid() == 0
        if self.exclusive:
            try:
                _check_range()
                _LOCKS.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise SettingsError(
                    f"{_SETTING} is not set, and programs cannot be given user ids of their own "
                    f"here ({error}): name an account without rights"
                ) from None

    def notice(self) -> str | None:
        """What an operator should know at the start, or None."""
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
        for _ in range(UIDS):
            self._next = (self._next + 1) % UIDS
            uid = FIRST_UID + self._next
            lock = os.open(_LOCKS / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            return StepUser(User(uid, uid, exclusive=True), None, lock)
        raise NoUserLeft(f"all {UIDS} user ids for programs are in use")


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
    return StepUser(User(entry.pw_uid, entry.pw_gid, exclusive=False), entry.pw_dir)


def _check_range() -> None:
    """Whether this user namespace has the range (a container may have fewer ids)."""
    last = FIRST_UID + UIDS
    for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
        first, _, count = map(int, line.split())
        if first <= FIRST_UID and last <= first + count:
            return
    raise SettingsError(
        f"{_SETTING} is not set, and this machine has no user ids from {FIRST_UID} to {last}: "
        "name an account without rights"
    )
