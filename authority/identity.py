"""Identity: on whose behalf a request or a control message is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams.actors import ANONYMOUS, same_actor
from streams.started import StartedBy


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose key signed a record: what the registry of trusted keys says of the key."""

    kid: str
    tenant: str
    actor: str
    #: When it was signed, in Unix microseconds.
    signed_at: int = 0


@dataclass(frozen=True, slots=True)
class Forged:
    """A signature that is there and proves nothing; the sentence says why."""

    message: str


@dataclass(frozen=True, slots=True)
class Vouched:
    """A router signed a request or a control message: whoever it names as its origin asks."""

    kid: str
    #: When it was signed, in Unix microseconds.
    signed_at: int


#: Whose key it is, if it counts at this time (Unix seconds); of what it signed at the other
#: (Unix microseconds).
OfKey = Callable[[str, int, float], Signer | Forged]


@dataclass(frozen=True, slots=True)
class Identity:
    """The actor that counts.

    `kid` is the key that proved it, None where nothing did; `claimed` is the actor that a record
    without proof named.
    """

    tenant: str
    actor: str
    kid: str | None = None
    claimed: str | None = None


def identify(signer: Signer | None, tenant: str, actor: str) -> Identity:
    """The identity behind a record that names this tenant and actor."""
    if signer is None:
        return Identity(tenant, ANONYMOUS, claimed=None if actor == ANONYMOUS else actor)
    return Identity(signer.tenant, signer.actor, signer.kid)


def refuse_signer(
    signer: Signer | Forged | None, tenant: str, actor: str, *, required: bool
) -> str | None:
    """Why a record that names this tenant and actor does not count, or None.

    Whatever is signed must be signed well; `required` says whether it must be signed.
    """
    if signer is None:
        return "it is not signed, and only signed ones are taken here" if required else None
    if isinstance(signer, Forged):
        return signer.message
    if signer.tenant != tenant:
        return f"the key {signer.kid} is of the tenant {signer.tenant}, and it names {tenant}"
    if not same_actor(signer.actor, actor):
        return f"the key {signer.kid} is of the actor {signer.actor}, and it names {actor}"
    return None


def refuse_copy(signer: Signer | None, signed: Mapping[str, int]) -> str | None:
    """Why a record does not count that was signed no later than one that was followed, or None.

    `signed` has the time of the last one of each key: a copy of an earlier one has no effect.
    """
    last = None if signer is None else signed.get(signer.kid)
    if signer is None or last is None or signer.signed_at > last:
        return None
    return f"what the key {signer.kid} signed at this time or later was followed already"


def behind(
    signer: Signer | Vouched | Forged | None,
    origin: StartedBy | None,
    of_key: OfKey,
    now: float,
) -> Signer | Forged | None:
    """Who asks: whoever signed it, or whoever applied the schedule or trigger that it comes from.

    `origin` is what the record says; only a router may say it.
    """
    if isinstance(signer, Vouched):
        if origin is None:
            return Forged(f"the key {signer.kid} is that of a router, and signs nothing here")
        return None if origin.key is None else of_key(origin.key, signer.signed_at, now)
    if origin is not None and not isinstance(signer, Forged):
        return Forged(f"only a router may say that a {origin.kind} asks for it: leave that out")
    return signer
