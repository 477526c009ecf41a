"""Requests: what becomes of one record of `execution.requests`; decided, not yet done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from processors.router.decoding import Undecodable
from processors.router.plan_cache import PlanCache
from processors.router.request_decoder import Invalid, decode_request
from processors.router.state import DedupEntry, Execution
from processors.router.store import StateStore
from streams.ids import (
    default_idempotency_key,
    is_execution_id,
    mint_execution_id,
    partition_for,
    route_key,
    route_of,
)
from streams.payloads import Accepted, Duplicate, Rejected
from streams.payloads import Problem as RejectedBecause
from streams.plans import ExecutionRequest
from toolmeta.invocation import Problem


@dataclass(frozen=True, slots=True)
class Forward:
    """It belongs to another partition."""

    route: str
    home: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """A rejection: the first and only event of an id of its own.

    The client's own id is used where it is good and belongs here, so that the client can watch
    it; then it is remembered (`keep`), so that it is never used for anything else.
    """

    execution_id: str
    tenant: str
    data: Rejected
    keep: bool


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same request again."""

    known: Execution | DedupEntry
    data: Duplicate


@dataclass(frozen=True, slots=True)
class Accept:
    """A new execution, with the data of its `execution.accepted`."""

    execution_id: str
    tenant: str
    data: Accepted


RequestDecision = Undecodable | Forward | Refuse | Repeat | Accept


@dataclass(frozen=True, slots=True)
class RequestHandler:
    """Decides about the requests of one partition; it looks into the store and changes nothing."""

    number: int
    count: int
    plans: PlanCache
    store: StateStore
    random_bits: Callable[[], int]

    def decide(self, value: bytes | None, now: float) -> RequestDecision:
        """What becomes of a record; never raises for anything that a producer can send."""
        read = decode_request(value)
        if isinstance(read, Undecodable):
            return read
        if isinstance(read, Invalid):
            return self._invalid(read, now)
        request = read.request
        key = request.idempotency_key or default_idempotency_key(
            read.plan, request.tenant, request.actor
        )
        route = route_key(request.tenant, key)
        home = partition_for(route.encode(), self.count)
        if home != self.number:
            return Forward(route, home)
        known, run = self.store.find_duplicate(request.tenant, key, now)
        if known is not None:
            return self._repeated(known, request, read.plan_hash, key, now)
        wrong = self._wrong_id(request, route)
        decided = [wrong] if wrong else self.plans.admit(request, read.plan_hash, key, run)
        if isinstance(decided, list):
            refusal = Invalid(
                decided,
                tenant=request.tenant,
                actor=request.actor,
                execution_id=None if wrong else request.execution_id,
                idempotency_key=key,
                name=request.plan.name,
            )
            return self._invalid(refusal, now)
        execution_id = request.execution_id or self.mint(route, now)
        return Accept(execution_id, request.tenant, decided)

    def mint(self, route: str, now: float) -> str:
        """A fresh execution id for a route."""
        return mint_execution_id(route, int(now * 1000), self.random_bits())

    def _repeated(
        self,
        known: Execution | DedupEntry,
        request: ExecutionRequest,
        plan_hash: str,
        key: str,
        now: float,
    ) -> Refuse | Repeat:
        if known.plan_hash == plan_hash:
            return Repeat(known, Duplicate(key, request.actor, request.execution_id))
        message = f"the idempotency key was used for another plan by {known.id}"
        conflict = Rejected(
            "conflict",
            message,
            [RejectedBecause("idempotency_key", message)],
            actor=request.actor,
            name=request.plan.name,
            idempotency_key=key,
            conflicts_with=known.id,
        )
        return self._refuse(request.execution_id, request.tenant, conflict, now, known.id)

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
        first = refusal.problems[0]
        more = len(refusal.problems) - 1
        message = f"{first.field}: {first.message}" + (f" (and {more} more)" if more else "")
        data = Rejected(
            refusal.reason,
            message,
            [RejectedBecause(problem.field, problem.message) for problem in refusal.problems],
            actor=refusal.actor,
            name=refusal.name,
            idempotency_key=refusal.idempotency_key,
        )
        return self._refuse(refusal.execution_id, refusal.tenant, data, now, None)

    def _refuse(
        self, wanted: str | None, tenant: str, data: Rejected, now: float, near: str | None
    ) -> Refuse:
        if (
            wanted is not None
            and is_execution_id(wanted)
            and partition_for(route_of(wanted).encode(), self.count) == self.number
            and not self.store.id_in_use(wanted)
        ):
            return Refuse(wanted, tenant, data, keep=True)
        route = route_of(near) if near else f"{self.random_bits() & 0xFFFFFFFF:08x}"
        return Refuse(self.mint(route, now), tenant, data, keep=False)
