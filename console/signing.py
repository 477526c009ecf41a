"""Signing what a command sends: by RUNSTREAM_SIGNING_KEY, or as the local stack's operator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from console import endpoints
from console.exits import Exit, Failure

if TYPE_CHECKING:
    from authority.keys import PrivateKey
    from runtime.settings import CommonSettings
    from streams.topics import Topic


def private_key(settings: CommonSettings) -> PrivateKey | None:
    """The key that this command signs with; None where there is none. Raises Failure.

    The local stack's own key is used on the local stack only: no other cluster trusts it.
    """
    from authority.key_files import read_private
    from authority.key_folder import OPERATOR
    from authority.keys import KeyFault

    path = settings.signing_key
    if path is None:
        folder = endpoints.local_keys(settings.bootstrap_servers)
        found = None if folder is None else folder.private(OPERATOR)
        if found is None or not found.exists():
            return None
        path = str(found)
    if not path:
        return None
    try:
        key = read_private(Path(path))
    except KeyFault as fault:
        raise Failure(f"RUNSTREAM_SIGNING_KEY: {fault}", Exit.USAGE) from None
    if key.use.actor is None:
        raise Failure(
            f"RUNSTREAM_SIGNING_KEY: {path} is the key of a process ({key.use.role}); commands "
            "are signed by a person or a program that asks",
            Exit.USAGE,
            "make one with: runstream keys new actor --actor NAME --out FILE",
        )
    return key


def actor_of(key: PrivateKey | None, wanted: str | None, login: str) -> str:
    """Who asks: the key's actor, or without a key whoever is named. Raises Failure."""
    from streams.actors import same_actor

    if key is None or key.use.actor is None:
        return wanted or login
    if wanted is not None and not same_actor(wanted, key.use.actor):
        raise Failure(
            f"the key that signs this is of the actor {key.use.actor}, and {wanted} is named",
            Exit.USAGE,
            f"leave the actor out, or sign with a key of {wanted}: RUNSTREAM_SIGNING_KEY=FILE",
        )
    return key.use.actor


def tenant_of(key: PrivateKey | None, wanted: str | None) -> str | None:
    """Whose plan it is: the key's tenant, or without a key whatever is named. Raises Failure."""
    if key is None:
        return wanted
    if wanted is not None and wanted != key.use.tenant:
        raise Failure(
            f"the key that signs this is of the tenant {key.use.tenant}, and {wanted} is named",
            Exit.USAGE,
            f"sign with a key of {wanted}: RUNSTREAM_SIGNING_KEY=FILE",
        )
    return key.use.tenant


def token(key: PrivateKey, topic: Topic, cluster: str, value: bytes) -> bytes:
    """The signature of one record that is sent now."""
    from authority.tokens import sign
    from runtime.clock import now

    return sign(key, topic.name, cluster, value, now())
