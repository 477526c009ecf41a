"""Plans that were admitted lately: what the catalogue says of a plan does not change while we run.

The same plan comes again and again, from a schedule or an alert; checking it takes a third of the
time that its request takes.
"""

from __future__ import annotations

from collections import OrderedDict
from copy import copy
from dataclasses import dataclass, field
from typing import Final

from processors.router.admission import admit
from streams.admitted import encode_plan
from streams.payloads import Accepted
from streams.plans import ExecutionRequest
from toolmeta.invocation import Problem
from toolmeta.registry import Registry

MAX_PLANS: Final = 256
#: Of all cached plans as JSON, which is kept too; in memory a plan takes a few times as much.
MAX_BYTES: Final = 4 * 1024 * 1024


@dataclass(slots=True)
class PlanCache:
    """Admits plans, the ones that it knows without checking them again; the least used go first."""

    registry: Registry
    #: By the hash of the plan: what was decided, and the admitted plan as JSON.
    _plans: OrderedDict[str, tuple[Accepted, bytes]] = field(default_factory=OrderedDict)
    _bytes: int = 0
    #: That of the registry by which they were admitted.
    _version: int = 0

    def admit(
        self, request: ExecutionRequest, plan_hash: str, idempotency_key: str, run: int
    ) -> Accepted | list[Problem]:
        """As `admission.admit`; `plan_hash` must be that of the request's plan."""
        if self._version != self.registry.version:
            self._version = self.registry.version
            self._plans.clear()
            self._bytes = 0
        known = self._plans.get(plan_hash)
        if known is None:
            found = admit(request, plan_hash, idempotency_key, self.registry, run)
            if isinstance(found, Accepted):
                # A copy: who asked for it is filled in by whoever gets it.
                self._keep(plan_hash, copy(found))
            return found
        self._plans.move_to_end(plan_hash)
        data = copy(known[0])
        data.plan.encoded = known[1]
        data.actor = request.actor
        data.idempotency_key = idempotency_key
        data.run = run
        return data

    def _keep(self, plan_hash: str, data: Accepted) -> None:
        encoded = encode_plan(data.plan)
        self._plans[plan_hash] = data, encoded
        self._bytes += len(encoded)
        while len(self._plans) > MAX_PLANS or self._bytes > MAX_BYTES:
            _, (_, dropped) = self._plans.popitem(last=False)
            self._bytes -= len(dropped)
