"""Identity: on whose behalf a request or a control message is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from streams.actors import ANONYMOUS, same_actor
from streams.on_behalf import OnBehalfOf
from streams.started import StartedBy


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose key signed a record: what the registry of trusted keys says of the key."""

    kid: str
    tenant: str
    actor: str
    #: When it was signed, in Unix microseconds.
    signed_at: int = 0
    #: The key of the API that signed it on behalf of this one; None where this one did.
    via: str | None = None

    @property
    def clock(self) -> str:
        """Whose clock `signed_at` is of: times of two clocks say nothing about their order."""
        return self.kid if self.via is None else f"{self.via}/{self.kid}"


@dataclass(frozen=True, slots=True)
class Forged:
    """A signature that is there and proves nothing; the sentence says why."""

    message: str


@dataclass(frozen=True, slots=True)
class Vouched:
    """A router or the API signed a request or a control message: whoever it names asks."""

    kid: str
    #: When it was signed, in Unix microseconds.
    signed_at: int
    role: Literal["router", "api"] = "router"


@dataclass(frozen=True, slots=True)
class Said:
    """Who asks for it by the word of a record; what it is worth depends on who signed it."""

    origin: StartedBy | None = None
    on_behalf_of: OnBehalfOf | None = None


#: Whose key it is, if it counts at this time (Unix seconds); of what it signed at the other
#: (Unix microseconds).
OfKey = Callable[[str, int, float], Signer | Forged]


@dataclass(frozen=True, slots=True)
class Identity:
    """The actor that counts.

    `kid` is the key that proved it, None where nothing did; `claimed` is the actor that a record
    without proof named; `via` is the key of the API, where that asked on behalf of the actor.
    """

    tenant: str
    actor: str
    kid: str | None = None
    claimed: str | None = None
    via: str | None = None


def unknown_key(kid: str, signed_at: int, now: float) -> Forged:
    """Where no keys are known."""
    return Forged(f"the key {kid[:64]} is not known here")


def identify(signer: Signer | None, tenant: str, actor: str) -> Identity:
    """The identity behind a record that names this tenant and actor."""
    if signer is None:
        return Identity(tenant, ANONYMOUS, claimed=None if actor == ANONYMOUS else actor)
    return Identity(signer.tenant, signer.actor, signer.kid, via=signer.via)


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

    `signed` has the time of the last one by each clock: a copy of an earlier one has no effect.
    """
    last = None if signer is None else signed.get(signer.clock)
    if signer is None or last is None or signer.signed_at > last:
        return None
    return f"what the key {signer.kid} signed at this time or later was followed already"


def behind(
    signer: Signer | Vouched | Forged | None,
    said: Said,
    of_key: OfKey,
    now: float,
) -> Signer | Forged | None:
    """Who asks: whoever signed it, or whoever a router or the API says that asks.

    Only a router may say that a schedule or trigger asks, and only the API that somebody does who
    showed it a token.
    """
    if isinstance(signer, Forged):
        return signer
    by = signer.role if isinstance(signer, Vouched) else None
    if said.origin is not None and by != "router":
        return Forged(
            f"only a router may say that a {said.origin.kind} asks for it: leave that out"
        )
    if said.on_behalf_of is not None and by != "api":
        return Forged("only the API may say on whose behalf it asks: leave on_behalf_of out")
    if not isinstance(signer, Vouched):
        return signer
    if said.on_behalf_of is not None:
        found = of_key(said.on_behalf_of.key, signer.signed_at, now)
        return found if isinstance(found, Forged) else replace(found, via=signer.kid)
    if said.origin is not None:
        key = said.origin.key
        return None if key is None else of_key(key, signer.signed_at, now)
    whose = "a router" if by == "router" else "the API"
    return Forged(f"the key {signer.kid} is that of {whose}, and signs nothing here")
