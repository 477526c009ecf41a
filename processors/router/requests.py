"""Requests: what becomes of one record of `execution.requests`; decided, not yet done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from authority.identity import Forged, Identity, Signer, identify, refuse_signer
from authority.policy import Control, Policy
from processors.router.authorisation import Authorisations, audit_of
from processors.router.calls import places
from processors.router.decoding import Undecodable
from processors.router.explanation import explanation
from processors.router.outcomes import Accept, Explain, Forward, Refuse, Repeat, RequestDecision
from processors.router.plan_cache import PlanCache
from processors.router.quotas import UNSIGNED, OverQuota, QuotaOf, unlimited
from processors.router.request_decoder import Invalid, Readable, decode_request
from processors.router.state import DedupEntry, Execution
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
from streams.lifecycle import REPEATABLE
from streams.payloads import Accepted, Duplicate, Rejected
from streams.plans import ExecutionRequest
from streams.problems import Problem as RejectedBecause
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

    def decide(
        self, value: bytes | None, signer: Signer | Forged | None, now: float
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
        signer: Signer | Forged | None,
        now: float,
        *,
        may_ask: bool,
    ) -> RequestDecision:
        read = decode_request(value)
        if isinstance(read, Undecodable):
            return read
        valid = None if isinstance(signer, Forged) else signer
        if isinstance(read, Invalid):
            wrong = self._not_authentic(signer, read.tenant, read.actor)
            if wrong is not None:
                return self._forged(wrong, read, now)
            identity = identify(valid, read.tenant, read.actor)
            refusal = self._invalid(replace(read, actor=identity.actor), now)
            return self._explain(refusal, identity) if read.explain else refusal
        request = read.request
        key = request.idempotency_key or default_idempotency_key(
            read.plan, request.tenant, request.actor
        )
        route = route_key(request.tenant, key)
        home = partition_for(route.encode(), self.count)
        if home != self.number:
            return Forward(route, home)
        about = Invalid(
            [],
            tenant=request.tenant,
            actor=request.actor,
            execution_id=request.execution_id,
            idempotency_key=key,
            name=request.plan.name,
        )
        unproven = self._not_authentic(signer, request.tenant, request.actor)
        latest = self.store.latest(request.tenant, key)
        if unproven is None:
            unproven = _used_before(latest, valid)
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
            return self._repeated(known, request, read.plan_hash, about, now), None
        over = self.over_quota(identity, sum(1 for _ in places(request.plan)), now)
        if over is not None:
            return self._over_quota(over, about, identity, now), None
        wrong = self._wrong_id(request, route)
        decided = [wrong] if wrong else self.plans.admit(request, read.plan_hash, key, run)
        if isinstance(decided, list):
            wanted = None if wrong else request.execution_id
            refusal = replace(about, problems=decided, execution_id=wanted)
            return self._invalid(refusal, now), None
        if signer is not None:
            decided.key, decided.signed_at = signer.kid, signer.signed_at
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
        data = Rejected(
            "forbidden",
            _summary(problems),
            [RejectedBecause(problem.field, problem.message) for problem in problems],
            actor=identity.actor,
            name=about.name,
            idempotency_key=about.idempotency_key,
        )
        return self._refuse(about.execution_id, about.tenant, data, now, None, audit)

    def _not_authentic(self, signer: Signer | Forged | None, tenant: str, actor: str) -> str | None:
        return refuse_signer(signer, tenant, actor, required=self.require_signatures)

    def _forged(self, message: str, about: Invalid, now: float) -> Refuse:
        """A rejection under an id of its own: what is not proven takes nobody's id away."""
        data = Rejected(
            "not_authentic",
            message,
            [RejectedBecause(SIGNATURE, message)],
            actor=ANONYMOUS,
            name=about.name,
            idempotency_key=about.idempotency_key,
        )
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

    def _repeated(
        self,
        known: Execution | DedupEntry,
        request: ExecutionRequest,
        plan_hash: str,
        about: Invalid,
        now: float,
    ) -> Refuse | Repeat:
        key, wanted = about.idempotency_key or "", request.execution_id
        if known.plan_hash == plan_hash:
            asked = wanted if wanted is not None and is_execution_id(wanted) else None
            return Repeat(known, Duplicate(key, about.actor, asked), now)
        message = f"the idempotency key was used for another plan by {known.id}"
        conflict = Rejected(
            "conflict",
            message,
            [RejectedBecause("idempotency_key", message)],
            actor=about.actor,
            name=request.plan.name,
            idempotency_key=key,
            conflicts_with=known.id,
        )
        return self._refuse(request.execution_id, request.tenant, conflict, now, known.id)

    def _over_quota(
        self, over: OverQuota, about: Invalid, identity: Identity, now: float
    ) -> Refuse:
        data = Rejected(
            "quota",
            over.message,
            [RejectedBecause(over.quota, over.message)],
            actor=identity.actor,
            name=about.name,
            idempotency_key=about.idempotency_key,
        )
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
        data = Rejected(
            refusal.reason,
            _summary(refusal.problems),
            [RejectedBecause(problem.field, problem.message) for problem in refusal.problems],
            actor=refusal.actor,
            name=refusal.name,
            idempotency_key=refusal.idempotency_key,
        )
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


def _used_before(known: Execution | DedupEntry | None, signer: Signer | None) -> str | None:
    """Why a request does not count for a key that a signed one, `known`, has used, or None.

    A failed or cancelled execution may be asked for again, by a new signature only; while one
    lives, or has completed, the same record is a duplicate like any other. What is not signed
    gets neither: it would say something in the log of somebody else's execution, and after a
    run of its own the last signature for the key would be forgotten.
    """
    if known is None or known.signed_at is None:
        return None
    if signer is None:
        return "its idempotency key was used by a signed request: sign it, or use another key"
    if known.status not in REPEATABLE or signer.signed_at > known.signed_at:
        return None
    return f"its signature was used for {known.id}, which has ended; sign it again"


def _summary(problems: list[Problem]) -> str:
    """The first problem in words, and how many more there are."""
    first, more = problems[0], len(problems) - 1
    return f"{first.field}: {first.message}" + (f" (and {more} more)" if more else "")
