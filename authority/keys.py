"""Keys: whose they are and what they may sign, as the member `runstream` of a JSON Web Key says.

Source: RFC 7517 (JWK), RFC 8037 (Ed25519 as an octet key pair), RFC 7638 (thumbprint).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from streams.actors import ANONYMOUS, Actor
from streams.topics import DOMAINS

#: The member of a JSON Web Key that holds a `KeyUse`.
MEMBER: Final = "runstream"
_CURVE: Final = "Ed25519"

Role = Literal["actor", "router", "executor", "matcher", "api"]


class KeyFault(Exception):
    """A key or a file of keys cannot be used; the message names it and the remedy."""


class KeyUse(BaseModel):
    """Whose key it is, what it may sign, and from when until when."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    role: Role
    tenant: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    actor: Actor | None = None
    domains: tuple[Annotated[str, Field(max_length=64)], ...] = ()
    not_before: AwareDatetime | None = None
    expires: AwareDatetime | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.role == "actor") != (self.actor is not None):
            raise ValueError("a key of the role actor names its actor, and no other key does")
        if self.actor is not None and self.actor.lower() == ANONYMOUS:
            raise ValueError(f"{ANONYMOUS} is nobody, and has no key")
        if (self.role == "executor") != bool(self.domains):
            raise ValueError("a key of the role executor names its domains, and no other key does")
        unknown = [name for name in self.domains if name not in DOMAINS]
        if unknown:
            raise ValueError(f"no domain {unknown[0]!r}; there are {', '.join(DOMAINS)}")
        return self

    def refusal(self, now: float) -> str | None:
        """Why the key does not count at this moment (Unix seconds), or None."""
        if self.not_before is not None and now < self.not_before.timestamp():
            return f"it is valid from {_iso(self.not_before)}"
        if self.expires is not None and now >= self.expires.timestamp():
            return f"it expired at {_iso(self.expires)}"
        return None


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """The public part of a key, and what it may sign; `kid` is its RFC 7638 thumbprint."""

    kid: str
    use: KeyUse
    public: OKPKey = field(repr=False, compare=False)

    def as_jwk(self) -> dict[str, Any]:
        """The JSON Web Key, without a private part."""
        return _jwk(self.public.as_dict(private=False), self.kid, self.use)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that this process signs with."""

    kid: str
    use: KeyUse
    pair: OKPKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls, use: KeyUse) -> PrivateKey:
        """A new key for this use."""
        pair = OKPKey.generate_key(_CURVE)
        return cls(pair.thumbprint(), use, pair)

    @property
    def trusted(self) -> TrustedKey:
        """Its public part."""
        public = OKPKey.import_key(dict(self.pair.as_dict(private=False)))
        return TrustedKey(self.kid, self.use, public)

    def as_jwk(self) -> dict[str, Any]:
        """The JSON Web Key with its private part: only ever written to a private file."""
        return _jwk(self.pair.as_dict(private=True), self.kid, self.use)


def private_key(document: Mapping[str, Any]) -> PrivateKey:
    """The private key in a JSON Web Key; raises KeyFault."""
    if "d" not in document:
        raise KeyFault("it holds no private key (member d)")
    pair, use = _parsed(document)
    return PrivateKey(pair.thumbprint(), use, pair)


def trusted_keys(document: Any) -> dict[str, TrustedKey]:
    """The keys of a JSON Web Key Set by their ids; raises KeyFault, and takes all or none."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise KeyFault('it is no JSON Web Key Set: {"keys": [...]}')
    found: dict[str, TrustedKey] = {}
    for number, one in enumerate(listed):
        if not isinstance(one, dict):
            raise KeyFault(f"key {number} is no object")
        if "d" in one:
            raise KeyFault(f"key {number} has its private part (member d); take it out")
        try:
            pair, use = _parsed(one)
        except KeyFault as fault:
            raise KeyFault(f"key {number}: {fault}") from None
        kid = pair.thumbprint()
        if kid in found:
            raise KeyFault(f"key {number} stands there twice: {kid}")
        found[kid] = TrustedKey(kid, use, pair)
    return found


def _parsed(document: Mapping[str, Any]) -> tuple[OKPKey, KeyUse]:
    if document.get("kty") != "OKP" or document.get("crv") != _CURVE:
        raise KeyFault(f"only kty OKP with crv {_CURVE} is used here")
    members = {name: document[name] for name in ("kty", "crv", "x", "d") if name in document}
    try:
        pair = OKPKey.import_key(members)
        use = KeyUse.model_validate(document.get(MEMBER))
        kid = pair.thumbprint()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join([MEMBER, *map(str, fault["loc"])])
        raise KeyFault(f"{where}: {fault['msg']}") from None
    except (JoseError, ValueError, TypeError):
        # The library's text could quote the key.
        raise KeyFault("its members x and d are no Ed25519 key") from None
    if document.get("kid", kid) != kid:
        raise KeyFault(f"its kid is not its RFC 7638 thumbprint, {kid}")
    return pair, use


def _jwk(members: Mapping[str, Any], kid: str, use: KeyUse) -> dict[str, Any]:
    kept = {name: members[name] for name in ("kty", "crv", "x", "d") if name in members}
    told = use.model_dump(mode="json", exclude_defaults=True)
    if use.actor is not None:
        told["tenant"] = use.tenant
    return {**kept, "kid": kid, MEMBER: told}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
