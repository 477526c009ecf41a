"""Procedures as they were applied last, and whether one may be used now.

Who applied a procedure is verified when it is used and not when it is read, so that every router
decides by the keys and the policy that count at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, Protocol

from pydantic import ValidationError

from authority.identity import Forged, Signer, identify, refuse_signer
from authority.policy import Control, Policy, Verdict
from streams.actors import ANONYMOUS
from streams.audit_payloads import SIGNATURE_RULE, Audit
from streams.procedures import MAX_PROCEDURE_BYTES, ProcedureRecord, ProcedureRequest, record_key
from streams.vocabulary import Environment
from toolmeta.invocation import Problem

#: Of all procedures together: what a router keeps of them in memory.
MAX_LIBRARY_BYTES: Final = 256 * 1024 * 1024

#: Whose key signed the value of a record of `execution.procedures`; None where it is not signed.
SignerOf = Callable[[bytes, str | None, float], Signer | Forged | None]


class Procedures(Protocol):
    """What the decision about a request asks for."""

    def known_at(self, now: float) -> Library:
        """The procedures as they were applied up to `now`, Unix seconds, or later."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: bytes
    token: str | None


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a procedure does not run: a problem, and the decision about authority behind it."""

    problem: Problem
    audit: Audit | None = None


@dataclass(slots=True)
class Library:
    """The latest record of every procedure, as it lies on the topic."""

    signer_of: SignerOf
    most_bytes: int = MAX_LIBRARY_BYTES
    #: Why nothing can be known of procedures now, None while it can.
    fault: str | None = None
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _bytes: int = 0

    def known_at(self, now: float) -> Library:
        """See Procedures; for a library that is filled by hand."""
        return self

    def put(self, key: bytes | None, value: bytes | None, token: str | None) -> str | None:
        """Take a record; a later one of the same key replaces it. Says what is wrong with it."""
        name = (key or b"").decode(errors="replace")
        before = self._kept.pop(name, None)
        if before is not None:
            self._bytes -= len(before.value)
        if value is None:
            return None
        if len(value) > MAX_PROCEDURE_BYTES or self._bytes + len(value) > self.most_bytes:
            # An empty value is no procedure: whoever asks for it is told to apply it again.
            self._kept[name] = _Kept(b"", None)
            return f"{len(value)} bytes are more than a procedure, or all of them, may have"
        self._kept[name] = _Kept(value, token)
        self._bytes += len(value)
        found = _decoded(name, value)
        return found if isinstance(found, str) else None

    def find(
        self, asked: ProcedureRequest, now: float, *, signed_only: bool
    ) -> tuple[ProcedureRecord, Signer | None] | Unusable:
        """The procedure that is asked for and who applied it, or why it cannot be used."""
        name = asked.procedure
        if self.fault is not None:
            return Unusable(Problem("procedure", self.fault))
        kept = self._kept.get(record_key(asked.tenant, name))
        record = None if kept is None else _decoded(record_key(asked.tenant, name), kept.value)
        if kept is None or record is None:
            return Unusable(Problem("procedure", self._absent(asked)))
        if isinstance(record, str):
            message = f"the record of {name} cannot be read: {record}; apply it --again"
            return Unusable(Problem("procedure", message))
        signer = self.signer_of(kept.value, kept.token, now)
        wrong = refuse_signer(signer, record.tenant, record.actor, required=signed_only)
        if wrong is not None or isinstance(signer, Forged):
            message = f"the record of {name} does not count: {wrong}; apply it --again"
            claimed = None if record.actor == ANONYMOUS else record.actor
            audit = Audit(
                ANONYMOUS, "apply", False, message, SIGNATURE_RULE,
                claimed_actor=claimed, resource=f"procedure/{name}",
            )  # fmt: skip
            return Unusable(Problem("procedure", message), audit)
        if record.plan is None:
            return Unusable(Problem("procedure", self._absent(asked)))
        if asked.version is not None and asked.version != record.version:
            message = (
                f"{name} is applied in version {record.version}, and {asked.version} was asked "
                "for: ask for the one that is there, or for none"
            )
            return Unusable(Problem("version", message))
        return record, signer

    def names(self, tenant: str) -> list[str]:
        """The names of the tenant's procedures that have not been removed."""
        begin = record_key(tenant, "")
        found = []
        for key, kept in self._kept.items():
            record = _decoded(key, kept.value) if key.startswith(begin) else None
            if isinstance(record, ProcedureRecord) and record.plan is not None:
                found.append(record.name)
        return sorted(found)

    def _absent(self, asked: ProcedureRequest) -> str:
        begin = record_key(asked.tenant, "")
        known = [key[len(begin) :] for key in self._kept if key.startswith(begin)]
        near = get_close_matches(asked.procedure, set(known) - {asked.procedure}, n=1)
        hint = f"did you mean {near[0]}?" if near else "see `runstream procedures list`"
        return f"there is no procedure {asked.procedure!r}; {hint}"


def _decoded(key: str, value: bytes) -> ProcedureRecord | str:
    try:
        record = ProcedureRecord.model_validate_json(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:64] for part in fault["loc"])
        return f"{where}: {fault['msg']}" if where else str(fault["msg"])
    if record_key(record.tenant, record.name) != key:
        return f"it stands under the key {key[:200]!r}, which is that of another one"
    return record


def may_apply(
    policy: Policy,
    signer: Signer | None,
    record: ProcedureRecord,
    environment: Environment,
    level: int,
) -> Unusable | None:
    """Why whoever applied the procedure may not have applied this plan, or None."""
    identity = identify(signer, record.tenant, record.actor)
    verdict: Verdict = policy.decide(identity, Control("apply", environment, level, True))
    if verdict.allowed:
        return None
    message = f"{record.name} was applied by somebody who may not: {verdict.message}"
    audit = Audit(
        identity.actor, "apply", False, message, verdict.rule, identity.kid, identity.claimed,
        f"procedure/{record.name}",
    )  # fmt: skip
    return Unusable(Problem("procedure", message), audit)
