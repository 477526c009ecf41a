"""One asset under several names: who locks one of them locks them all."""

from __future__ import annotations

from processors.locks.keeper import Keeper
from processors.locks.names import MAX_KNOWN, Names
from streams.locks import AssetNames, Granted, Queued, bytes_of
from tests.unit.locks.test_keeper import acquire, granted, ident, release


def web(*names: str, number: int = 17) -> AssetNames:
    return AssetNames(asset_id=number, names=list(names))


def test_an_asset_is_locked_under_all_of_its_names() -> None:
    keeper = Keeper()
    keeper.names.learn("t", [web("web-01", "192.0.2.10", "17")])
    (first,) = keeper.acquire(acquire(1, "web-01"), 0.0)
    assert isinstance(first, Granted)
    assert first.tokens.keys() == {"web-01", "192.0.2.10", "17"}
    (second,) = keeper.acquire(acquire(2, "192.0.2.10"), 1.0)
    assert isinstance(second, Queued)
    assert second.holder == ident(1)
    assert [who for who, _ in granted(keeper.release(release(1), 2.0))] == [ident(2)]


def test_a_name_that_is_learned_late_never_gives_an_asset_two_holders() -> None:
    keeper = Keeper()
    keeper.acquire(acquire(1, "web-01"), 0.0)
    keeper.names.learn("t", [web("web-01", "192.0.2.10")])
    assert isinstance(keeper.acquire(acquire(2, "192.0.2.10"), 1.0)[0], Queued)
    # Its holder may use the other name, and comes before the one that waits.
    assert granted(keeper.acquire(acquire(1, "192.0.2.10", request="late"), 2.0))


def test_another_tenants_names_say_nothing() -> None:
    keeper = Keeper()
    keeper.names.learn("other", [web("web-01", "192.0.2.10")])
    keeper.acquire(acquire(1, "web-01"), 0.0)
    assert granted(keeper.acquire(acquire(2, "192.0.2.10"), 0.0))


def test_an_asset_that_is_renamed_or_removed_loses_its_old_names() -> None:
    names = Names()
    names.learn("t", [web("web-01", "192.0.2.10")])
    names.learn("t", [web("web-02", "192.0.2.10")])
    assert names.expand("t", ["web-01"], 1_000) == ["web-01"]
    assert set(names.expand("t", ["192.0.2.10"], 1_000)) == {"web-02", "192.0.2.10"}
    names.learn("t", [web()])
    assert names.expand("t", ["192.0.2.10"], 1_000) == ["192.0.2.10"]
    assert (names.known, names.having) == ({}, {})


def test_an_address_that_two_assets_have_keeps_both_apart_from_everybody() -> None:
    names = Names()
    names.learn("t", [web("old", "192.0.2.10"), web("new", "192.0.2.10", number=18)])
    assert set(names.expand("t", ["192.0.2.10"], 1_000)) == {"192.0.2.10", "old", "new"}
    assert set(names.expand("t", ["old"], 1_000)) == {"old", "192.0.2.10"}


def test_what_is_written_down_gives_the_same_names_and_is_written_once() -> None:
    names = Names()
    names.learn("t/1", [web("web-01", "192.0.2.10"), web("db", number=3)])
    names.learn("t/1", [web(number=3)])
    records = list(names.records())
    names.learn("t/1", [web("web-01", "192.0.2.10")])
    assert list(names.records()) == []
    fresh = Names()
    for key, value in records:
        if value is not None:
            fresh.restore(key, value)
    assert (fresh.known, fresh.having) == (names.known, names.having)


def test_what_is_known_and_what_a_request_grows_to_are_bounded() -> None:
    names = Names()
    names.learn("t", [web(f"h{n}", f"alias{n}", number=n + 1) for n in range(MAX_KNOWN + 5)])
    assert len(names.known) == MAX_KNOWN
    asked = [f"h{n}" for n in range(1_000)]
    found = names.expand("t", asked, 10_000)
    assert found[:1_000] == asked
    assert bytes_of(found[1_000:]) <= 10_000


def test_names_of_one_asset_have_one_token_and_other_assets_have_others() -> None:
    keeper = Keeper()
    keeper.names.learn("t", [web("web-01", "192.0.2.10"), web("db-01", "db", number=18)])
    (first,) = keeper.acquire(acquire(1, "192.0.2.10", "db", "new"), 0.0)
    assert isinstance(first, Granted)
    tokens = first.tokens
    assert tokens["web-01"] == tokens["192.0.2.10"] and tokens["db-01"] == tokens["db"]
    assert len({tokens["web-01"], tokens["db-01"], tokens["new"]}) == 3
    keeper.release(release(1), 1.0)
    (second,) = keeper.acquire(acquire(2, "web-01"), 2.0)
    assert isinstance(second, Granted)
    assert min(second.tokens.values()) > max(tokens.values())
