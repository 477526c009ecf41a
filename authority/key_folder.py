"""The keys of one installation in one folder, as `up` and `keys init` make it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from authority.key_files import changing_trusted, read_private, write_private
from authority.keys import KeyUse, PrivateKey, Role
from streams.actors import ACTOR, ANONYMOUS
from streams.topics import DOMAINS

TRUSTED: Final = "trusted.jwks"
OPERATOR: Final = "operator"


class KeyFolder:
    """A folder of mode 700: a private key per file, and the trusted public keys."""

    def __init__(self, path: Path) -> None:
        """Nothing is made yet."""
        self.path = path
        self.trusted = path / TRUSTED

    def private(self, name: str) -> Path:
        """The file of the private key of this name: router, executor, operator …"""
        return self.path / f"{name}.jwk"

    def complete(
        self, actor: str, tenant: str = "default", *, per_domain: bool = False
    ) -> list[PrivateKey]:
        """Make the keys that are missing, and trust all of them; returns those that were made.

        One key for the router, one for the matcher, one for the API, one for an operator, who is
        `actor`, and one for executors of every domain, or one for each domain. What is there is
        kept. Raises KeyFault.
        """
        alone: tuple[Role, ...] = ("router", "matcher", "api")
        wanted: dict[str, KeyUse] = {role: KeyUse(role=role) for role in alone}
        wanted[OPERATOR] = KeyUse(role="actor", tenant=tenant, actor=actor_name(actor))
        executors: dict[str, Sequence[str]] = {"executor": DOMAINS}
        if per_domain:
            executors = {f"executor-{domain}": [domain] for domain in DOMAINS}
        for name, domains in executors.items():
            wanted[name] = KeyUse(role="executor", domains=tuple(domains))
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        made: list[PrivateKey] = []
        with changing_trusted(self.trusted) as trusted:
            for name, use in wanted.items():
                path = self.private(name)
                if path.exists():
                    # Not trusted again: it may have been revoked.
                    read_private(path)
                    continue
                key = PrivateKey.generate(use)
                write_private(path, key)
                trusted[key.kid] = key.trusted
                made.append(key)
        return made


def actor_name(login: str) -> str:
    """A login name as the name of an actor; `operator` where it cannot be one."""
    usable = re.fullmatch(ACTOR, login) and login.lower() != ANONYMOUS
    return login if usable else OPERATOR
