"""Verifier: whether a record was signed by a trusted key, for this topic of this cluster."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from authority.identity import Forged, Signer, Vouched
from authority.keys import Role, TrustedKey
from authority.tokens import Token, covers, parts, verify
from authority.trust import TrustedKeys

#: How far a signer's clock may be ahead, in seconds.
MAX_SKEW_SECONDS: Final = 120.0
#: Signatures that are remembered as good: the records below one lie close together.
REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)
class Proof:
    """The key that signed a record, and when, in Unix microseconds."""

    key: TrustedKey
    signed_at: int


@dataclass(frozen=True, slots=True)
class Window:
    """How old, and how far ahead, a signature may be when its record is read, in seconds."""

    age: float
    ahead: float = MAX_SKEW_SECONDS

    @classmethod
    def within(cls, remembered: float) -> Window:
        """The window of records that are known for `remembered` seconds after they are read.

        Both sides together are no longer than that: what is signed ahead must not outlast it.
        """
        ahead = min(MAX_SKEW_SECONDS, remembered / 2)
        return cls(remembered - ahead, ahead)


class Verifier:
    """Verifies the signatures of records on one cluster; safe from every thread."""

    def __init__(self, trusted: TrustedKeys) -> None:
        """`cluster` must be set before the first record."""
        self._trusted = trusted
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[Token, Proof]] = OrderedDict()
        self._generation = trusted.generation
        #: The id of the Kafka cluster.
        self.cluster: str | None = None

    def check(
        self,
        value: bytes | None,
        token: str | None,
        topic: str,
        now: float,
        window: Window | None = None,
    ) -> Proof | Forged | None:
        """Who signed the value of a record of this topic; None where nobody did. Never raises.

        `topic` is without a prefix; `now` is in Unix seconds. Without a window its time may be any.
        """
        if token is None:
            return None
        split = parts(token)
        if isinstance(split, Forged):
            return split
        signed, proof = split
        found = self._token(signed)
        if isinstance(found, Forged):
            return found
        shared, made = found
        if value is None or not covers(shared, proof, value):
            return Forged("the signature is for another value")
        wrong = _mismatch(shared, topic, self.cluster, now, window)
        return Forged(wrong) if wrong else made

    def key(self, kid: str, signed_at: int, now: float) -> Proof | Forged:
        """What the key of this id would prove by a signature of this time, if it counts now.

        `signed_at` is in Unix microseconds, `now` in seconds.
        """
        self._trusted.refresh()
        found = self._trusted.find(kid)
        if found is None:
            return Forged(f"the key {kid[:64]} is not trusted here")
        refusal = found.use.refusal(now)
        if refusal is not None:
            return Forged(f"the key {kid[:64]} does not count: {refusal}")
        return Proof(found, signed_at)

    def _token(self, signed: str) -> tuple[Token, Proof] | Forged:
        self._trusted.refresh()
        with self._lock:
            if self._generation != self._trusted.generation:
                self._generation = self._trusted.generation
                self._known.clear()
            known = self._known.get(signed)
        if known is not None:
            return known
        found = verify(signed, self._trusted.find)
        if isinstance(found, Forged):
            return found
        known = found, Proof(found.key, found.signed_at)
        with self._lock:
            self._known[signed] = known
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known


def _mismatch(
    token: Token,
    topic: str,
    cluster: str | None,
    now: float,
    window: Window | None,
) -> str | None:
    claims = token.claims
    if claims.topic != topic:
        return f"the signature is for the topic {claims.topic[:64]!r}"
    if claims.aud != cluster:
        return f"the signature is for the cluster {claims.aud[:64]!r}, and this is {cluster!r}"
    refusal = token.key.use.refusal(now)
    if refusal is not None:
        return f"the key {token.key.kid} does not count: {refusal}"
    if claims.exp is not None and now >= claims.exp:
        return "the signature has expired"
    if window is None:
        return None
    if claims.iat - now > window.ahead:
        return f"the signature is {claims.iat - now:.0f} s ahead of the clock here"
    if now - claims.iat > window.age:
        return f"the signature is {now - claims.iat:.0f} s old; {window.age:.0f} are allowed"
    return None


def as_origin(found: Proof | Forged | None) -> Signer | Vouched | Forged | None:
    """The same for what a router or the API may have sent on behalf of somebody else."""
    if isinstance(found, Proof) and (role := found.key.use.role) in ("router", "api"):
        return Vouched(found.key.kid, found.signed_at, role)
    return as_signer(found)


def as_signer(found: Proof | Forged | None) -> Signer | Forged | None:
    """Whose request or control message it is; only a key of the role actor signs these."""
    if not isinstance(found, Proof):
        return found
    use = found.key.use
    if use.actor is None:
        return Forged(f"the key {found.key.kid} is that of a {use.role}, and signs nothing here")
    return Signer(found.key.kid, use.tenant, use.actor, found.signed_at)


def refuse_command(found: Proof | Forged | None) -> str | None:
    """Why a command or a cancel is not the router's, or None."""
    return _refuse_role(found, "router")


def refuse_match(found: Proof | Forged | None) -> str | None:
    """Why a match is not that of a matcher, or None."""
    return _refuse_role(found, "matcher")


def _refuse_role(found: Proof | Forged | None, role: Role) -> str | None:
    if found is None:
        return "it is not signed"
    if isinstance(found, Forged):
        return found.message
    if found.key.use.role != role:
        return f"the key {found.key.kid} is not that of a {role}"
    return None


def refuse_report(found: Proof | Forged | None, domain: str | None) -> str | None:
    """Why a report is not that of an executor of this domain (None: of any), or None."""
    if found is None:
        return "it is not signed"
    if isinstance(found, Forged):
        return found.message
    use = found.key.use
    if use.role != "executor":
        return f"the key {found.key.kid} is not that of an executor"
    if domain is not None and domain not in use.domains:
        return f"the key {found.key.kid} is for {', '.join(use.domains)}, and the step is {domain}"
    return None
