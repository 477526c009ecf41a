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
  the request is refused. The search is bounded; where it would go on, the request is refused too.

An asset's queue is sorted by rank, so that whoever is next is found at once, however many wait.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from processors.locks.names import MAX_BYTES, Names
from processors.locks.state import Party, Rank
from streams.locks import (
    Acquire,
    AnyLockAnswer,
    Expired,
    Granted,
    Queued,
    Refused,
    Release,
    Renew,
    bytes_of,
)

#: Tenant and asset.
Key = tuple[str, str]
#: Of the requests of one execution that wait, in bytes: the oldest are dropped beyond that. The
#: router asks again for what it needs.
MAX_WAITING: Final = 2 * MAX_BYTES
#: Places in queues that the search for a circle looks at.
MAX_SEARCHED: Final = 100_000


@dataclass(slots=True)
class Keeper:
    """The locks of the tenants of one partition."""

    parties: dict[str, Party] = field(default_factory=dict)
    holders: dict[Key, str] = field(default_factory=dict)
    #: An asset is locked under all of its names.
    names: Names = field(default_factory=Names)
    #: The ranks of the executions that wait for an asset, sorted.
    queues: dict[Key, list[Rank]] = field(default_factory=dict)
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
        room = MAX_BYTES - bytes_of(held)
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
        touched |= self._make_room(party, wanted)
        party.requests[command.request] = wanted
        self._enter(party, wanted)
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
                self._enter(party, assets)
            if party.senior:
                self._lease(party, now)

    # -- inside ----------------------------------------------------------------------------------

    def _serve(self, touched: Iterable[Key], now: float) -> list[AnyLockAnswer]:
        """Grant what can be granted now that something about these assets has changed."""
        answers: list[AnyLockAnswer] = []
        work = sorted(touched)
        # What one gets sets nothing free for others, so nobody is looked at twice for nothing.
        refused: set[str] = set()
        while work:
            key = work.pop()
            tenant, party = key[0], self._next(key)
            if party is None or party.execution_id in refused:
                continue
            for request, assets in list(party.requests.items()):
                if all(self._next((tenant, one)) is party for one in assets):
                    answers += self._grant(party, request, now)
                    # Its rank is another one now, so it may be next elsewhere.
                    work += [(tenant, one) for more in party.requests.values() for one in more]
                    break
            else:
                refused.add(party.execution_id)
        return answers

    def _next(self, key: Key) -> Party | None:
        """Who gets this asset next; None where it is held or nobody wants it."""
        queue = self.queues.get(key)
        if not queue or key in self.holders:
            return None
        return self.parties[queue[0][-1]]

    def _grant(self, party: Party, request: str, now: float) -> list[AnyLockAnswer]:
        answers: list[AnyLockAnswer] = []
        got = self.names.numbered(party.tenant, party.requests[request], self.counter)
        for asset in got:
            self.holders[party.tenant, asset] = party.execution_id
        self.granted = self.counter = max(got.values())
        if not party.senior:
            waiting = [asset for assets in party.requests.values() for asset in assets]
            self._leave(party, waiting)
            party.senior = self.counter
            self._enter(party, waiting)
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
                self._enter(party, left)
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
        gone = [asset for asset in assets if asset not in still]
        self._leave(party, gone)
        return {(party.tenant, asset) for asset in gone}

    def _make_room(self, party: Party, wanted: list[str]) -> set[Key]:
        """Drop the oldest requests of an execution whose record would be too long otherwise."""
        touched: set[Key] = set()
        sizes = {request: bytes_of(assets) for request, assets in party.requests.items()}
        size = bytes_of(wanted) + sum(sizes.values())
        for request, dropped in sizes.items():
            if size <= MAX_WAITING:
                break
            touched |= self._withdraw(party, request)
            size -= dropped
        return touched

    def _enter(self, party: Party, assets: Iterable[str]) -> None:
        """Put an execution into the queues of these assets, where it is in none of them yet."""
        rank = party.rank
        for asset in assets:
            queue = self.queues.setdefault((party.tenant, asset), [])
            place = bisect_left(queue, rank)
            if place == len(queue) or queue[place] != rank:
                queue.insert(place, rank)

    def _leave(self, party: Party, assets: Iterable[str]) -> None:
        rank = party.rank
        for asset in assets:
            queue = self.queues.get((party.tenant, asset), [])
            place = bisect_left(queue, rank)
            if place < len(queue) and queue[place] == rank:
                del queue[place]
                if not queue:
                    del self.queues[party.tenant, asset]

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
        queue = self.queues.get(key, [])
        return found + [rank[-1] for rank in queue[: bisect_left(queue, party.rank)]]

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
        searched = 0
        while open_ones:
            waiting = self.parties[open_ones.pop()]
            for assets in waiting.requests.values():
                for asset in assets:
                    ahead = self.ahead(waiting, asset)
                    searched += 1 + len(ahead)
                    if party.execution_id in ahead or searched > MAX_SEARCHED:
                        return True
                    open_ones += [one for one in ahead if one not in seen]
                    seen.update(ahead)
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
