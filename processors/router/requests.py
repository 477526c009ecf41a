"""Requests: what becomes of one record of `execution.requests`; decided, not yet done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from authority.identity import (
    Forged,
    Identity,
    OfKey,
    Said,
    Signer,
    Vouched,
    behind,
    identify,
    refuse_signer,
    unknown_key,
)
from authority.policy import Control, Policy
from processors.router.authorisation import Authorisations, audit_of
from processors.router.calls import places
from processors.router.decoding import Undecodable, said_by
from processors.router.entries import DedupEntry
from processors.router.explanation import explanation
from processors.router.outcomes import Accept, Explain, Forward, Refuse, Repeat, RequestDecision
from processors.router.plan_cache import PlanCache
from processors.router.procedures import Library, Procedures, Unusable, may_apply
from processors.router.quotas import UNSIGNED, OverQuota, QuotaOf, unlimited
from processors.router.refusals import rejected, used_before
from processors.router.request_decoder import (
    MAX_PROBLEMS,
    Asked,
    Invalid,
    decode_request,
    with_inputs,
)
from processors.router.resolution import Readable, is_repeated, run_of, secret_problems
from processors.router.state import Execution
from processors.router.store import StateStore
from streams.actors import ANONYMOUS
from streams.audit_payloads import SIGNATURE_RULE, Audit
from streams.envelope import SIGNATURE
from streams.ids import (
    default_idempotency_key,
    is_execution_id,
    mint_execution_id,
    partition_for,
    route_key,
    route_of,
)
from streams.payloads import Accepted, Duplicate, Rejected
from streams.plans import AROUND, ExecutionRequest
from streams.procedures import ProcedureRequest
from toolmeta.invocation import Problem


@dataclass(frozen=True, slots=True)
class RequestHandler:
    """Decides about the requests of one partition; it looks into the store and changes nothing."""

    number: int
    count: int
    plans: PlanCache
    store: StateStore
    random_bits: Callable[[], int]
    #: The policy that counts now.
    policy: Callable[[], Policy]
    #: Whether a request without a signature is refused.
    require_signatures: bool = False
    quota_of: QuotaOf = unlimited
    authorisations: Authorisations = field(default_factory=Authorisations)
    procedures: Procedures = field(default_factory=lambda: Library(lambda *_: None))
    #: Whose the key is that a schedule or trigger was applied with.
    of_key: OfKey = unknown_key

    def decide(
        self, value: bytes | None, signer: Signer | Vouched | Forged | None, now: float
    ) -> RequestDecision:
        """What becomes of a record; never raises for anything that a producer can send.

        `signer` is whose key signed it, None where it is not signed.
        """
        return self._decide(value, signer, now, may_ask=False)

    def explain(
        self, value: bytes | None, signer: Signer | Forged | None, now: float
    ) -> RequestDecision:
        """The answer to a request that asks for an explanation, whoever may ask for one."""
        return self._decide(value, signer, now, may_ask=True)

    def _decide(
        self,
        value: bytes | None,
        signed: Signer | Vouched | Forged | None,
        now: float,
        *,
        may_ask: bool,
    ) -> RequestDecision:
        read = decode_request(value)
        if isinstance(read, Undecodable):
            return read
        if isinstance(read, Invalid):
            said = said_by(value)
        else:
            said = Said(read.request.started_by, read.request.on_behalf_of)
        signer = behind(signed, said, self.of_key, now)
        valid = None if isinstance(signer, Forged) else signer
        if isinstance(read, Asked):
            found = self._procedure(read, signer, now)
            if not isinstance(found, Readable | Invalid):
                return found
            read = found
        if isinstance(read, Invalid):
            wrong = self._not_authentic(signer, read.tenant, read.actor)
            if wrong is not None:
                return self._forged(wrong, read, now)
            identity = identify(valid, read.tenant, read.actor)
            refusal = self._invalid(replace(read, actor=identity.actor), now)
            return self._explain(refusal, identity) if read.explain else refusal
        request = read.request
        key = self._key(request, read.plan)
        if isinstance(key, Forward):
            return key
        about = _about(request, key, request.plan.name)
        unproven = self._not_authentic(signer, request.tenant, request.actor)
        latest = self.store.latest(request.tenant, key)
        if unproven is None:
            unproven = used_before(latest, valid)
        if unproven is not None:
            return self._forged(unproven, about, now)
        identity = identify(valid, request.tenant, request.actor)
        about = replace(about, actor=identity.actor)
        if request.explain and not may_ask:
            asked = Control("explain", request.plan.environment, request.plan.approval_level, True)
            verdict = self.policy().decide(identity, asked)
            if not verdict.allowed:
                problem = Problem("explain", verdict.message)
                audit = audit_of(identity, "explain", False, verdict.message, verdict.rule)
                return self._forbidden(about, identity, [problem], audit, now)
        outcome, data = self._outcome(read, about, identity, valid, latest, now)
        return self._explain(outcome, identity, data) if request.explain else outcome

    def _key(
        self, request: ExecutionRequest | ProcedureRequest, written: dict[str, Any]
    ) -> str | Forward:
        """The idempotency key of a request; or where it belongs, if that is not here."""
        key = request.idempotency_key or default_idempotency_key(
            written, request.tenant, request.actor
        )
        route = route_key(request.tenant, key)
        home = partition_for(route.encode(), self.count)
        return key if home == self.number else Forward(route, home)

    def _procedure(
        self, asked: Asked, signer: Signer | Forged | None, now: float
    ) -> Readable | Invalid | RequestDecision:
        """The request of a procedure with its plan, or what becomes of it without one."""
        request = asked.request
        key = self._key(request, asked.written)
        if isinstance(key, Forward):
            return key
        about = _about(request, key, request.procedure)
        latest = self.store.latest(request.tenant, key)
        valid = None if isinstance(signer, Forged) else signer
        unproven = self._not_authentic(signer, request.tenant, request.actor)
        unproven = unproven or used_before(latest, valid)
        if unproven is not None:
            return self._forged(unproven, about, now)
        identity = identify(valid, request.tenant, request.actor)
        about = replace(about, actor=identity.actor)
        known, _ = self.store.repeated(latest, now)
        if known is not None and not request.explain and is_repeated(request, known.procedure):
            # Before the procedure is looked at: it may have been changed, or removed, since.
            return self._repeat(known, key, identity.actor, request.execution_id, now)
        library = self.procedures.known_at(now)
        kept = library.find(request, now, signed_only=self.require_signatures)
        if isinstance(kept, Unusable):
            return self._unusable(kept, about, identity, now)
        record, applied_by = kept
        plan = record.plan or {}
        around = request.model_dump(
            include=set(AROUND),
            exclude_none=True,
        )
        run = run_of(request, record.version, plan)
        read = with_inputs(around, plan, request.inputs or {}, asked.written, run)
        if isinstance(read, Invalid):
            return replace(about, problems=read.problems)
        wanted = read.request.plan
        refused = may_apply(
            self.policy(), applied_by, record, wanted.environment, wanted.approval_level
        )
        return read if refused is None else self._unusable(refused, about, identity, now)

    def _unusable(
        self, why: Unusable, about: Invalid, identity: Identity, now: float
    ) -> Refuse | Explain:
        if why.audit is None:
            refusal = self._invalid(replace(about, problems=[why.problem]), now)
        else:
            refusal = self._forbidden(about, identity, [why.problem], why.audit, now)
        return self._explain(refusal, identity) if about.explain else refusal

    def _outcome(
        self,
        read: Readable,
        about: Invalid,
        identity: Identity,
        signer: Signer | None,
        latest: Execution | DedupEntry | None,
        now: float,
    ) -> tuple[Accept | Repeat | Refuse, Accepted | None]:
        """What becomes of a request that belongs here, and its plan as admitted, if it was."""
        request, key = read.request, about.idempotency_key or ""
        route = route_key(request.tenant, key)
        known, run = self.store.repeated(latest, now)
        if known is not None:
            return self._repeated(known, read, about, now), None
        over = self.over_quota(identity, sum(1 for _ in places(request.plan)), now)
        if over is not None:
            return self._over_quota(over, about, identity, now), None
        wrong = self._wrong_id(request, route)
        decided = [wrong] if wrong else self._admit(read, key, run)
        if isinstance(decided, list):
            wanted = None if wrong else request.execution_id
            refusal = replace(about, problems=decided, execution_id=wanted)
            return self._invalid(refusal, now), None
        if signer is not None:
            decided.key, decided.signed_at = signer.kid, signer.signed_at
            decided.via = signer.via
        decided.started_by = request.started_by
        decided.actor, decided.claimed_actor = identity.actor, identity.claimed
        found = self.authorisations.find(self.policy(), identity, decided, self.plans.registry)
        if found.problems:
            refused = self._forbidden(about, identity, found.problems, found.audit, now)
            return refused, decided
        execution_id = request.execution_id or self.mint(route, now)
        return Accept(execution_id, request.tenant, decided, found.audit), decided

    def _explain(
        self,
        outcome: Accept | Repeat | Refuse,
        identity: Identity,
        data: Accepted | None = None,
    ) -> Explain:
        """The answer to a request that only asks what its outcome would be."""
        known = outcome.known.id if isinstance(outcome, Repeat) else None
        told = explanation(outcome.data, data, identity, self.policy(), self.plans.registry, known)
        if isinstance(outcome, Accept):
            return Explain(outcome.execution_id, outcome.tenant, told, True, data)
        if isinstance(outcome, Refuse):
            return Explain(outcome.execution_id, outcome.tenant, told, outcome.keep, data)
        ident, keep = self._place(
            outcome.data.requested_execution_id, outcome.known.id, outcome.now
        )
        return Explain(ident, outcome.known.tenant, told, keep)

    def _forbidden(
        self,
        about: Invalid,
        identity: Identity,
        problems: list[Problem],
        audit: Audit,
        now: float,
    ) -> Refuse:
        data = rejected("forbidden", problems, replace(about, actor=identity.actor))
        return self._refuse(about.execution_id, about.tenant, data, now, None, audit)

    def _not_authentic(self, signer: Signer | Forged | None, tenant: str, actor: str) -> str | None:
        return refuse_signer(signer, tenant, actor, required=self.require_signatures)

    def _forged(self, message: str, about: Invalid, now: float) -> Refuse:
        """A rejection under an id of its own: what is not proven takes nobody's id away."""
        problem = Problem(SIGNATURE, message)
        unproven = replace(about, actor=ANONYMOUS)
        data = rejected("not_authentic", [problem], unproven, said=message)
        claimed = None if about.actor == ANONYMOUS else about.actor
        audit = Audit(ANONYMOUS, "run", False, message, SIGNATURE_RULE, claimed_actor=claimed)
        key = about.idempotency_key
        bits = self.random_bits() & 0xFFFFFFFF
        route = route_key(about.tenant, key) if key else f"{bits:08x}"
        return Refuse(self.mint(route, now), about.tenant, data, keep=False, audit=audit)

    def over_quota(self, identity: Identity, steps: int, now: float) -> OverQuota | None:
        """Why the tenant may not have one more execution with so many steps now, or None.

        What is not signed has the quota of one tenant, too, whatever tenants it names.
        """
        usage, tenant = self.store.usage, identity.tenant
        over = usage.over(tenant, self.quota_of(tenant), steps, now, self.count)
        if over is None and identity.kid is None:
            over = usage.over(UNSIGNED, self.quota_of(UNSIGNED), steps, now, self.count)
        return over

    def mint(self, route: str, now: float) -> str:
        """A fresh execution id for a route."""
        return mint_execution_id(route, int(now * 1000), self.random_bits())

    def _admit(self, read: Readable, key: str, run: int) -> Accepted | list[Problem]:
        problems = list(secret_problems(read.secrets, self.plans.registry))
        if problems:
            return problems[:MAX_PROBLEMS]
        decided = self.plans.admit(read.request, read.plan_hash, key, run)
        if isinstance(decided, Accepted):
            decided.procedure = read.procedure
        return decided

    def _repeat(
        self, known: Execution | DedupEntry, key: str, actor: str, wanted: str | None, now: float
    ) -> Repeat:
        asked = wanted if wanted is not None and is_execution_id(wanted) else None
        return Repeat(known, Duplicate(key, actor, asked), now)

    def _repeated(
        self,
        known: Execution | DedupEntry,
        read: Readable,
        about: Invalid,
        now: float,
    ) -> Refuse | Repeat:
        key, request = about.idempotency_key or "", read.request
        if known.plan_hash == read.plan_hash:
            return self._repeat(known, key, about.actor, request.execution_id, now)
        message = f"the idempotency key was used for another plan by {known.id}"
        conflict = rejected("conflict", [Problem("idempotency_key", message)], about, known.id)
        return self._refuse(request.execution_id, request.tenant, conflict, now, known.id)

    def _over_quota(
        self, over: OverQuota, about: Invalid, identity: Identity, now: float
    ) -> Refuse:
        problem = Problem(over.quota, over.message)
        data = rejected("quota", [problem], replace(about, actor=identity.actor), said=over.message)
        return self._refuse(about.execution_id, about.tenant, data, now, None)

    def _wrong_id(self, request: ExecutionRequest, route: str) -> Problem | None:
        wanted = request.execution_id
        if wanted is None:
            return None
        if not is_execution_id(wanted):
            return Problem("execution_id", "it must be a UUIDv8 in lower case")
        if route_of(wanted) != route:
            return Problem(
                "execution_id",
                f"its last eight digits must be the route key of this request, {route}",
            )
        if self.store.id_in_use(wanted):
            return Problem("execution_id", "it is the id of another execution")
        return None

    def _invalid(self, refusal: Invalid, now: float) -> Refuse:
        data = rejected(refusal.reason, refusal.problems, refusal)
        return self._refuse(refusal.execution_id, refusal.tenant, data, now, None)

    def _refuse(
        self,
        wanted: str | None,
        tenant: str,
        data: Rejected,
        now: float,
        near: str | None,
        audit: Audit | None = None,
    ) -> Refuse:
        ident, keep = self._place(wanted, near, now)
        return Refuse(ident, tenant, data, keep, audit)

    def _place(self, wanted: str | None, near: str | None, now: float) -> tuple[str, bool]:
        """The id of an answer of its own: the client's if it is good and belongs here; it is kept.

        Else a fresh one, on the route of `near` where that is given.
        """
        if (
            wanted is not None
            and is_execution_id(wanted)
            and partition_for(route_of(wanted).encode(), self.count) == self.number
            and not self.store.id_in_use(wanted)
        ):
            return wanted, True
        route = route_of(near) if near else f"{self.random_bits() & 0xFFFFFFFF:08x}"
        return self.mint(route, now), False


def _about(request: ExecutionRequest | ProcedureRequest, key: str, name: str | None) -> Invalid:
    """What a refusal says of a request that can be read."""
    return Invalid(
        [],
        tenant=request.tenant,
        actor=request.actor,
        execution_id=request.execution_id,
        idempotency_key=key,
        name=name,
        explain=request.explain,
    )
