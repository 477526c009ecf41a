"""The lock keeper: who holds which asset, who is served next. Pure; time comes in as an argument.

An execution (party) asks for several assets at once and gets all of them or none. It is served
when each of them is free and nobody of a better rank waits for it. Holders rank before those that
hold nothing, among themselves by when they first held something; the others by priority, then
arrival. All locks of an execution have one lease.

No deadlock, since the graph "waits for" has no circle:
- An edge leads to a holder, or to a party of better rank in the queue of an asset. So it never
  leads from a holder to a party that holds nothing, and among those the rank is a total order.
- A party that holds nothing gets its first assets only where it is next in all their queues: no
  holder waits for any of them, so no edge from a holder to it is added.
- A holder that asks for more can close a circle, and only through itself: that is looked for, and
  the request is refused.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from processors.locks.names import MAX_BYTES, OVERHEAD, Names
from processors.locks.state import Party
from streams.locks import Acquire, AnyLockAnswer, Expired, Granted, Queued, Refused, Release, Renew

#: Tenant and asset.
Key = tuple[str, str]


@dataclass(slots=True)
class Keeper:
    """The locks of the tenants of one partition."""

    parties: dict[str, Party] = field(default_factory=dict)
    holders: dict[Key, str] = field(default_factory=dict)
    #: An asset is locked under all of its names.
    names: Names = field(default_factory=Names)
    #: The executions that wait for an asset; without order.
    queues: dict[Key, dict[str, None]] = field(default_factory=dict)
    #: The last number given out: fencing tokens, arrivals and seniority are drawn from it.
    counter: int = 0
    #: The last fencing token.
    granted: int = 0
    #: When leases may end; an entry may be too early, and then another one is added.
    leases: list[tuple[float, str]] = field(default_factory=list)
    #: Executions whose record must be written.
    changed: dict[str, None] = field(default_factory=dict)

    # -- commands --------------------------------------------------------------------------------

    def acquire(self, command: Acquire, now: float) -> list[AnyLockAnswer]:
        """Grant, queue or refuse a request; one that came before is answered as it stands.

        Whoever asks lives: its lease starts again.
        """
        party = self.parties.get(command.execution_id)
        held = party.tokens if party is not None else {}
        room = MAX_BYTES - sum(len(asset.encode()) + OVERHEAD for asset in held)
        asked = self.names.expand(command.tenant, command.assets, room)
        wanted = [asset for asset in asked if asset not in held]
        if party is not None and party.senior:
            party.expires_at = now + party.lease_seconds
        if party is not None and not wanted:
            tokens = {asset: party.tokens[asset] for asset in asked}
            if command.request in party.requests:
                self.changed[party.execution_id] = None
            freed = self._withdraw(party, command.request)
            return [_granted(party, command.request, tokens), *self._serve(freed, now)]
        if party is None:
            self.counter += 1
            party = Party(
                command.execution_id, command.tenant, command.priority, self.counter,
                command.lease_seconds,
            )  # fmt: skip
            self.parties[party.execution_id] = party
        elif party.requests.get(command.request) == wanted:
            return [self._queued(party, command.request)]
        touched = self._withdraw(party, command.request)
        party.requests[command.request] = wanted
        for asset in wanted:
            self.queues.setdefault((party.tenant, asset), {})[party.execution_id] = None
        self.changed[party.execution_id] = None
        if party.senior and self._waits_for_itself(party):
            refused = self._refused(party, command.request)
            touched |= self._withdraw(party, command.request)
            return [refused, *self._serve(touched, now)]
        answers = self._serve(touched | {(party.tenant, asset) for asset in wanted}, now)
        if command.request in party.requests:
            answers.append(self._queued(party, command.request))
        return answers

    def renew(self, command: Renew, now: float) -> None:
        """Start the lease of an execution again; one that holds nothing is ignored."""
        party = self.parties.get(command.execution_id)
        if party is not None and party.senior:
            party.expires_at = now + party.lease_seconds

    def release(self, command: Release, now: float) -> list[AnyLockAnswer]:
        """Take everything from an execution; returns what others get by that."""
        party = self.parties.get(command.execution_id)
        return [] if party is None else self._drop(party, now)

    # -- time ------------------------------------------------------------------------------------

    def next_expiry(self) -> float | None:
        """When a lease may end, in Unix seconds."""
        return self.leases[0][0] if self.leases else None

    def expire(self, now: float) -> list[AnyLockAnswer]:
        """End the leases that nobody renewed, and serve those that waited."""
        answers: list[AnyLockAnswer] = []
        while self.leases and self.leases[0][0] <= now:
            _, execution_id = heapq.heappop(self.leases)
            party = self.parties.get(execution_id)
            if party is None or not party.senior:
                continue
            if party.expires_at > now:
                heapq.heappush(self.leases, (party.expires_at, execution_id))
                continue
            tokens = dict(party.tokens)
            answers.append(
                Expired(execution_id=execution_id, tenant=party.tenant, tokens=tokens)
            )  # fmt: skip
            answers += self._drop(party, now)
        return answers

    # -- restart ---------------------------------------------------------------------------------

    def restored(self, parties: Iterable[Party], counter: int, now: float) -> None:
        """Take what the changelog holds; every holder gets a whole new lease."""
        self.counter = self.granted = counter
        for party in parties:
            self.parties[party.execution_id] = party
            numbers = (party.arrival, party.senior, *party.tokens.values())
            self.counter = max(self.counter, *numbers)
            for asset in party.tokens:
                self.holders[party.tenant, asset] = party.execution_id
            for assets in party.requests.values():
                for asset in assets:
                    self.queues.setdefault((party.tenant, asset), {})[party.execution_id] = None
            if party.senior:
                self._lease(party, now)

    # -- inside ----------------------------------------------------------------------------------

    def _serve(self, touched: Iterable[Key], now: float) -> list[AnyLockAnswer]:
        """Grant what can be granted now that something about these assets has changed."""
        answers: list[AnyLockAnswer] = []
        work = sorted(touched)
        while work:
            tenant, asset = work.pop()
            party = self._next((tenant, asset))
            if party is None:
                continue
            for request, assets in list(party.requests.items()):
                if asset in assets and all(self._next((tenant, one)) is party for one in assets):
                    answers += self._grant(party, request, now)
                    # Its rank is another one now, so it may be next elsewhere.
                    work += [(tenant, one) for more in party.requests.values() for one in more]
                    break
        return answers

    def _next(self, key: Key) -> Party | None:
        """Who gets this asset next; None where it is held or nobody wants it."""
        queue = self.queues.get(key)
        if not queue or key in self.holders:
            return None
        if len(queue) == 1:
            return self.parties[next(iter(queue))]
        return min((self.parties[name] for name in queue), key=lambda party: party.rank)

    def _grant(self, party: Party, request: str, now: float) -> list[AnyLockAnswer]:
        answers: list[AnyLockAnswer] = []
        got = self.names.numbered(party.tenant, party.requests[request], self.counter)
        for asset in got:
            self.holders[party.tenant, asset] = party.execution_id
        self.granted = self.counter = max(got.values())
        party.senior = party.senior or self.counter
        self._lease(party, now)
        party.tokens |= got
        self._withdraw(party, request)
        answers.append(_granted(party, request, got))
        # Another request of the execution may have waited for the same assets only.
        for other, assets in list(party.requests.items()):
            left = [asset for asset in assets if asset not in got]
            if left == assets:
                continue
            self._withdraw(party, other)
            if left:
                party.requests[other] = left
                for asset in left:
                    self.queues.setdefault((party.tenant, asset), {})[party.execution_id] = None
            else:
                tokens = {asset: party.tokens[asset] for asset in assets}
                answers.append(_granted(party, other, tokens))
        self.changed[party.execution_id] = None
        return answers

    def _lease(self, party: Party, now: float) -> None:
        if not party.expires_at:
            heapq.heappush(self.leases, (now + party.lease_seconds, party.execution_id))
        party.expires_at = now + party.lease_seconds

    def _withdraw(self, party: Party, request: str) -> set[Key]:
        """Drop a request; returns the assets for which somebody else may be next by that."""
        assets = party.requests.pop(request, [])
        still = {asset for others in party.requests.values() for asset in others}
        touched: set[Key] = set()
        for asset in assets:
            if asset in still:
                continue
            key = (party.tenant, asset)
            touched.add(key)
            queue = self.queues.get(key)
            if queue is not None:
                queue.pop(party.execution_id, None)
                if not queue:
                    del self.queues[key]
        return touched

    def _drop(self, party: Party, now: float) -> list[AnyLockAnswer]:
        """Forget an execution with everything that it holds and waits for."""
        touched: set[Key] = set()
        for request in list(party.requests):
            touched |= self._withdraw(party, request)
        for asset in party.tokens:
            del self.holders[party.tenant, asset]
            touched.add((party.tenant, asset))
        del self.parties[party.execution_id]
        self.changed[party.execution_id] = None
        return self._serve(touched, now)

    def ahead(self, party: Party, asset: str) -> list[str]:
        """The holder of an asset first, then who waits for it and is served before `party`."""
        key = (party.tenant, asset)
        found = [self.holders[key]] if key in self.holders else []
        rank = party.rank
        waiting = [self.parties[name] for name in self.queues.get(key, ())]
        before = sorted((one for one in waiting if one.rank < rank), key=lambda one: one.rank)
        return found + [one.execution_id for one in before]

    def waits_for(self, party: Party) -> set[str]:
        """The executions that must end, or be served, before all requests of this one can be."""
        found: set[str] = set()
        for assets in party.requests.values():
            for asset in assets:
                found.update(self.ahead(party, asset))
        return found

    def _waits_for_itself(self, party: Party) -> bool:
        seen: set[str] = set()
        open_ones = [party.execution_id]
        while open_ones:
            for other in self.waits_for(self.parties[open_ones.pop()]):
                if other == party.execution_id:
                    return True
                if other not in seen:
                    seen.add(other)
                    open_ones.append(other)
        return False

    def _blocked(self, party: Party, request: str) -> tuple[str, list[str]]:
        """The first asset that the request waits for, and who is before it there."""
        for asset in party.requests[request]:
            ahead = self.ahead(party, asset)
            if ahead:
                return asset, ahead
        raise AssertionError("a request that waits for nobody is granted")

    def _queued(self, party: Party, request: str) -> Queued:
        asset, ahead = self._blocked(party, request)
        held = (party.tenant, asset) in self.holders
        return Queued(
            execution_id=party.execution_id, tenant=party.tenant, request=request, asset=asset,
            holder=ahead[0], held=held,
        )  # fmt: skip

    def _refused(self, party: Party, request: str) -> Refused:
        asset, ahead = self._blocked(party, request)
        return Refused(
            execution_id=party.execution_id, tenant=party.tenant, request=request, asset=asset,
            holder=ahead[0],
        )  # fmt: skip


def _granted(party: Party, request: str, tokens: dict[str, int]) -> Granted:
    return Granted(
        execution_id=party.execution_id, tenant=party.tenant, request=request, tokens=tokens
    )
