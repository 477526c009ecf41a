"""A host with logins by key, by password, of a German and of no account, at IPv4 and IPv6."""

from __future__ import annotations

import getpass
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.integration.ssh_accounts import Account, account
from tests.integration.test_drivers_ssh import Sshd, keygen, running_sshd
from tests.secret_kit import secret_file
from tests.tools.driven import for_everybody
from tests.tools.odd import german, logins, place, unprivileged
from tests.tools.odd.calls import CALLS
from tests.tools.odd.logins import Way
from tests.tools.odd.unprivileged import Ended, ended

_PASSWORD = "s3 cret!'\"\\ €"

GOOD = {tool: call.good for tool, call in CALLS.items()}
BAD = {tool: call.bad for tool, call in CALLS.items() if call.bad is not None}


def ipv6() -> bool:
    """Whether this machine has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@dataclass
class Host:
    """The server, the folder that the calls are about, and two accounts without rights."""

    server: Sshd
    place: place.Place
    german: Account
    plain: Account
    #: Which of the two has the locale of its login, which depends on the machine.
    has_german: bool

    @cached_property
    def here(self) -> Mapping[str, Ended]:
        """The good calls, by an executor that is a process of the plain account."""
        return unprivileged.outcomes(GOOD, self.place, self.plain)

    @cached_property
    def here_bad(self) -> Mapping[str, Ended]:
        """The bad ones, by the same."""
        return unprivileged.outcomes(BAD, self.place, self.plain)

    @cached_property
    def by_key(self) -> Mapping[str, Ended]:
        """The good calls over SSH, by the key of the executor, in a German login."""
        return self._over_ssh(GOOD, Way(self.server.host), ssh_user=self.german.name)

    @cached_property
    def by_key_bad(self) -> Mapping[str, Ended]:
        """The bad ones, by the same."""
        return self._over_ssh(BAD, Way(self.server.host), ssh_user=self.german.name)

    @cached_property
    def by_password(self) -> Mapping[str, Ended]:
        """The good calls over SSH by a password of the step; by IPv6 where there is IPv6."""
        folder = str(self.server.folder / "secrets")
        way = Way(f"[::1]:{self.server.port}" if ipv6() else self.server.host, "file/ssh")
        login = {"ssh_user": self.plain.name, "ssh_key_file": None, "secrets_dir": folder}
        return self._over_ssh(GOOD, way, **login)

    @cached_property
    def by_nobody(self) -> Mapping[str, Ended]:
        """The good calls by a login that nobody has."""
        return self._over_ssh(GOOD, Way(self.server.host), ssh_user="rs-no-such-login")

    @cached_property
    def changed(self) -> Mapping[str, Ended]:
        """The good calls where the host shows another key than the known one."""
        known = str(self.server.folder / "changed")
        more = {"ssh_user": getpass.getuser(), "ssh_known_hosts": known}
        return self._over_ssh(GOOD, Way(self.server.host), **more)

    def sessions(self, user: str) -> int:
        """How many times the server let this user in."""
        log = (self.server.folder / "log").read_text()
        return log.count(f"Accepted publickey for {user} ") + log.count(
            f"Accepted password for {user} "
        )

    def _over_ssh(
        self, calls: Mapping[str, dict[str, Any]], way: Way, **changed: Any
    ) -> dict[str, Ended]:
        allowed = logins.executor(self.place).model_dump(exclude_unset=True)
        wanted = self.server.settings(**{**allowed, **changed})
        found = logins.outcomes(calls, self.place, way, wanted)
        return {tool: ended(outcome) for tool, outcome in found.items()}


@contextmanager
def host() -> Iterator[Host]:
    """All of it, for as long as the block lasts."""
    spoken = " ".join(f"{name}={value}" for name, value in german.ENVIRONMENT.items())
    shell = shutil.which("bash") or "/bin/sh"
    with (
        for_everybody() as folder,
        german.locale() as has_german,
        place.made() as made,
        account(shell) as speaks,
        account(shell, password=_PASSWORD) as plain,
        running_sshd(
            folder,
            *(["ListenAddress ::1"] if ipv6() else []),
            "MaxStartups 100",
            f"Match User {speaks.name}",
            f"SetEnv {spoken}",
            f"Match User {plain.name}",
            "PasswordAuthentication yes",
        ) as server,
    ):
        key = " ".join((folder / "host.pub").read_text().split()[:2])
        with (folder / "known_hosts").open("a") as known:
            known.write(f"[::1]:{server.port} {key}\n")
        (folder / "changed").write_text(f"[127.0.0.1]:{server.port} {keygen(folder / 'other')}\n")
        (folder / "secrets").mkdir(mode=0o700)
        secret_file(folder / "secrets", "ssh", _PASSWORD)
        yield Host(server, made, speaks, plain, has_german)
