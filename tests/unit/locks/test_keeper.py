"""The keeper against any order of requests, ends, deaths and restarts; and its order of service."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from processors.locks.keeper import Keeper
from processors.locks.listing import LockedAsset, listing
from processors.locks.state import COUNTER, decode, encode, encode_counter, key_of
from streams.limits import MAX_RECORD_BYTES
from streams.locks import (
    Acquire,
    AnyLockAnswer,
    AssetNames,
    Expired,
    Granted,
    Queued,
    Refused,
    Release,
    Renew,
)

LEASE = 60.0


def ident(number: int) -> str:
    return f"01a1f7c1-4180-8a94-9234-{number:012d}"


def acquire(number: int, *assets: str, request: str = "r", priority: int = 5) -> Acquire:
    return Acquire(
        execution_id=ident(number), tenant="t", request=request, assets=list(assets),
        priority=priority, lease_seconds=LEASE,
    )  # fmt: skip


def release(number: int) -> Release:
    return Release(execution_id=ident(number), tenant="t")


def renew(number: int) -> Renew:
    return Renew(execution_id=ident(number), tenant="t")


def granted(answers: list[AnyLockAnswer]) -> list[tuple[str, list[str]]]:
    """Who got what, in order."""
    return [(one.execution_id, list(one.tokens)) for one in answers if isinstance(one, Granted)]


def restarted(keeper: Keeper, now: float) -> Keeper:
    """A keeper that knows what is written down of this one."""
    fresh = Keeper(names=keeper.names)
    records = [(key_of(party.execution_id), encode(party)) for party in keeper.parties.values()]
    fresh.restored([decode(*record) for record in records], keeper.granted, now)
    return fresh


def test_a_free_asset_is_granted_at_once_and_a_held_one_when_it_is_released() -> None:
    keeper = Keeper()
    assert granted(keeper.acquire(acquire(1, "web"), 0.0)) == [(ident(1), ["web"])]
    (answer,) = keeper.acquire(acquire(2, "web"), 1.0)
    assert isinstance(answer, Queued)
    assert (answer.asset, answer.holder, answer.held) == ("web", ident(1), True)
    assert granted(keeper.release(release(1), 2.0)) == [(ident(2), ["web"])]


def test_priority_comes_before_arrival() -> None:
    keeper = Keeper()
    keeper.acquire(acquire(1, "web"), 0.0)
    keeper.acquire(acquire(2, "web", priority=5), 1.0)
    keeper.acquire(acquire(3, "web", priority=5), 2.0)
    keeper.acquire(acquire(4, "web", priority=1), 3.0)
    served = []
    for number in (1, 4, 2, 3):
        served += granted(keeper.release(release(number), 4.0))
    assert served == [(ident(4), ["web"]), (ident(2), ["web"]), (ident(3), ["web"])]


def test_several_assets_are_granted_together_or_not_at_all() -> None:
    keeper = Keeper()
    keeper.acquire(acquire(1, "b"), 0.0)
    (queued,) = keeper.acquire(acquire(2, "a", "b", "c"), 1.0)
    assert isinstance(queued, Queued)
    # It comes later and needs only what is free; the one before it is not passed over for ever.
    (later,) = keeper.acquire(acquire(3, "a"), 2.0)
    assert isinstance(later, Queued)
    assert (later.holder, later.held) == (ident(2), False)
    assert granted(keeper.release(release(1), 3.0)) == [(ident(2), ["a", "b", "c"])]
    assert granted(keeper.release(release(2), 4.0)) == [(ident(3), ["a"])]


def test_a_circle_is_refused_and_the_others_go_on() -> None:
    keeper = Keeper()
    keeper.acquire(acquire(1, "a"), 0.0)
    keeper.acquire(acquire(2, "b"), 0.0)
    assert isinstance(keeper.acquire(acquire(1, "b", request="late"), 1.0)[0], Queued)
    (refused,) = keeper.acquire(acquire(2, "a", request="late"), 2.0)
    assert isinstance(refused, Refused)
    assert (refused.request, refused.asset, refused.holder) == ("late", "a", ident(1))
    assert granted(keeper.release(release(2), 3.0)) == [(ident(1), ["b"])]


def test_a_lease_that_is_not_renewed_ends_and_the_next_one_is_served() -> None:
    keeper = Keeper()
    keeper.acquire(acquire(1, "web"), 0.0)
    keeper.acquire(acquire(2, "web"), 0.0)
    keeper.renew(renew(1), 50.0)
    assert keeper.expire(60.0) == []
    expired, *rest = keeper.expire(110.0)
    assert isinstance(expired, Expired)
    assert (expired.execution_id, list(expired.tokens)) == (ident(1), ["web"])
    assert granted(rest) == [(ident(2), ["web"])]


def test_a_repeated_request_is_answered_and_changes_nothing() -> None:
    keeper = Keeper()
    first = keeper.acquire(acquire(1, "web"), 0.0)
    assert keeper.acquire(acquire(1, "web"), 1.0) == first
    queued = keeper.acquire(acquire(2, "web"), 2.0)
    assert keeper.acquire(acquire(2, "web"), 3.0) == queued
    assert keeper.release(release(3), 4.0) == []


def test_a_request_is_replaced_by_one_for_what_is_held_already() -> None:
    keeper = Keeper()
    keeper.acquire(acquire(1, "web"), 0.0)
    keeper.acquire(acquire(2, "db"), 0.0)
    keeper.acquire(acquire(2, "web"), 1.0)
    assert granted(keeper.acquire(acquire(2, "db"), 2.0)) == [(ident(2), ["db"])]
    assert granted(keeper.release(release(1), 3.0)) == []
    assert not keeper.parties[ident(2)].requests


def test_no_token_is_given_twice_although_nothing_is_held() -> None:
    keeper = Keeper()
    (first,) = keeper.acquire(acquire(1, "web"), 0.0)
    keeper.release(release(1), 1.0)
    (second,) = restarted(keeper, 2.0).acquire(acquire(2, "web"), 3.0)
    assert isinstance(first, Granted)
    assert isinstance(second, Granted)
    assert second.tokens["web"] > first.tokens["web"]


def test_tenants_do_not_share_assets() -> None:
    keeper = Keeper()
    keeper.acquire(acquire(1, "web"), 0.0)
    other = acquire(2, "web").model_copy(update={"tenant": "other"})
    assert granted(keeper.acquire(other, 0.0)) == [(ident(2), ["web"])]


def test_the_listing_names_holders_and_who_waits_in_order() -> None:
    keeper = Keeper()
    keeper.acquire(acquire(1, "web"), 0.0)
    keeper.acquire(acquire(2, "web"), 0.0)
    keeper.acquire(acquire(3, "web", priority=1), 0.0)
    records: list[tuple[bytes, bytes | None]] = [(COUNTER, encode_counter(9))]
    for party in keeper.parties.values():
        key = key_of(party.execution_id)
        records += [(key, b"{}"), (key, encode(party))]
    records += [(key_of("gone"), b"{}"), (key_of("gone"), None)]
    token = keeper.parties[ident(1)].tokens["web"]
    waiting = (ident(3), ident(2))
    assert listing(records) == [LockedAsset("t", "web", ident(1), token, waiting)]


ASSETS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True)
WHO = st.integers(0, 7)


class Everybody(RuleBasedStateMachine):
    """Executions that ask, ask again, end, die and renew, in any order, with a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = Keeper()
        self.now = 0.0
        #: What each execution was told that it holds.
        self.held: dict[str, dict[str, int]] = {}
        self.highest: dict[str, int] = {}
        #: What each execution has asked for and still waits for.
        self.open: dict[tuple[str, str], list[str]] = {}
        self.renewed: dict[str, float] = {}
        #: Every token so far.
        self.given: set[int] = set()

    def take(self, answers: list[AnyLockAnswer]) -> None:
        for answer in answers:
            who = answer.execution_id
            match answer:
                case Granted(request=request, tokens=tokens):
                    mine = self.held.setdefault(who, {})
                    fresh = {number for name, number in tokens.items() if mine.get(name) != number}
                    # Tokens are shared by names of one asset only, and by nobody else's.
                    assert fresh.isdisjoint(self.given)
                    self.given |= fresh
                    for asset, token in tokens.items():
                        if mine.get(asset) == token:
                            continue
                        assert token > self.highest.get(asset, 0)
                        self.highest[asset] = token
                        mine[asset] = token
                    self.renewed[who] = self.now
                    assert set(self.open.pop((who, request))) <= mine.keys()
                case Expired(tokens=tokens):
                    assert self.now - self.renewed[who] >= LEASE
                    assert self.held[who] == tokens
                    self.forget(who)
                case Refused(request=request):
                    # Only who holds something may be refused: the others lose their place.
                    assert self.held[who]
                    del self.open[who, request]

    def forget(self, who: str) -> None:
        self.held.pop(who, None)
        self.open = {key: assets for key, assets in self.open.items() if key[0] != who}

    @rule(who=WHO, assets=ASSETS, request=st.sampled_from("xyz"), priority=st.integers(1, 3))
    def acquire(self, who: int, assets: list[str], request: str, priority: int) -> None:
        self.open[ident(who), request] = assets
        if self.held.get(ident(who)):
            self.renewed[ident(who)] = self.now
        command = acquire(who, *assets, request=request, priority=priority)
        self.take(self.keeper.acquire(command, self.now))

    @rule(who=WHO)
    def end(self, who: int) -> None:
        self.forget(ident(who))
        self.take(self.keeper.release(release(who), self.now))

    @rule(who=WHO)
    def renew(self, who: int) -> None:
        self.keeper.renew(renew(who), self.now)
        self.renewed[ident(who)] = self.now

    @rule(seconds=st.sampled_from([1.0, 20.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.keeper.expire(self.now))

    @rule(number=st.integers(1, 3), names=st.lists(st.sampled_from("abcdef"), max_size=3))
    def learn(self, number: int, names: list[str]) -> None:
        self.keeper.names.learn("t", [AssetNames(asset_id=number, names=names)])

    @rule()
    def restart(self) -> None:
        self.keeper = restarted(self.keeper, self.now)
        self.renewed = dict.fromkeys(self.renewed, self.now)

    @invariant()
    def an_asset_has_one_holder(self) -> None:
        seen: dict[str, str] = {}
        for who, tokens in self.held.items():
            for asset in tokens:
                assert seen.setdefault(asset, who) == who
                assert self.keeper.holders["t", asset] == who

    @invariant()
    def nobody_waits_for_himself(self) -> None:
        parties = self.keeper.parties
        waits = {name: self.keeper.waits_for(party) for name, party in parties.items()}
        while waits:
            free = [name for name, others in waits.items() if not others & waits.keys()]
            assert free, f"a circle among {waits}"
            for name in free:
                del waits[name]

    @invariant()
    def who_waits_for_nobody_has_everything(self) -> None:
        for party in self.keeper.parties.values():
            for request in party.requests:
                assert any(self.keeper.ahead(party, asset) for asset in party.requests[request])

    def teardown(self) -> None:
        """If whoever waits for nobody ends, everybody is served."""
        for _ in range(100):
            waiting = {name for name, _ in self.open}
            done = [name for name in self.keeper.parties if name not in waiting]
            if not self.keeper.parties:
                assert not self.open
                assert not self.keeper.holders
                assert not self.keeper.queues
                return
            assert done, "a deadlock"
            for name in done:
                self.forget(name)
                self.take(self.keeper.release(Release(execution_id=name, tenant="t"), self.now))
        raise AssertionError("not everybody was served")


Everybody.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestEverybody: Any = Everybody.TestCase


@pytest.mark.parametrize("count", [200])
def test_many_that_want_one_asset_are_served_in_the_order_in_which_they_came(count: int) -> None:
    keeper = Keeper()
    for number in range(count):
        keeper.acquire(acquire(number, "web"), 0.0)
    for number in range(count - 1):
        assert granted(keeper.release(release(number), 1.0)) == [(ident(number + 1), ["web"])]


def test_plans_over_thousands_of_assets_cost_a_bounded_time() -> None:
    """The keeper runs in the router's loop: what one tenant asks must not stop everybody."""
    keeper, assets = Keeper(), [f"a{number}" for number in range(4_000)]
    slowest = 0.0
    count = 120
    for number in range(count):
        keeper.acquire(acquire(number, f"own{number}"), 0.0)
    keeper.acquire(acquire(count, *assets), 0.0)
    for number in range(count):
        begun = time.process_time()
        keeper.acquire(acquire(number, *assets, request="more"), 0.0)
        slowest = max(slowest, time.process_time() - begun)
    begun = time.process_time()
    assert len(keeper.release(release(count), 1.0)) == 1
    slowest = max(slowest, time.process_time() - begun)
    assert slowest < 0.5


def test_what_an_execution_waits_for_fits_its_record() -> None:
    keeper = Keeper()
    names = [f"{number:05d}{'x' * 240}" for number in range(450)]
    keeper.acquire(acquire(1, *names), 0.0)
    for number in range(20):
        answers = keeper.acquire(acquire(2, *names, f"own{number}", request=f"r{number}"), 0.0)
        assert isinstance(answers[-1], Queued)
        assert len(encode(keeper.parties[ident(2)])) <= MAX_RECORD_BYTES
    assert granted(keeper.release(release(1), 1.0))
