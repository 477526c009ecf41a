"""What was done to a log of events is found, with the number at which it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.chain_check import Checked, Finding, Rules, check, linked
from streams.chain import link, with_chain
from streams.timestamps import unix
from tests.unit.console.chains import chained
from tests.unit.sinks.stories import troubled

LOG = chained(troubled(1).values)
LATER = unix("2027-01-01T00:00:00Z")


def first(values: Iterable[bytes], rules: Rules | None = None) -> tuple[int, str] | None:
    """Number and kind of the first finding."""
    found, _ = checked(values, rules)
    return None if found is None else (found.seq, found.kind)


def checked(
    values: Iterable[bytes], rules: Rules | None = None, signature: str | None = None
) -> tuple[Finding | None, Checked]:
    known: Checked | None = None
    found: Finding | None = None
    for value in values:
        event = linked(value, signature)
        known = known or Checked(event.execution_id)
        found = check(known, event, rules or Rules()) or found
    assert known is not None
    return found, known


def edited(value: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    tree = orjson.loads(value)
    change(tree)
    return orjson.dumps(tree)


def unchained(value: bytes) -> bytes:
    return edited(value, lambda tree: tree.pop("chain"))


def test_a_log_as_it_was_written_holds_from_its_beginning() -> None:
    found, known = checked(LOG)
    assert found is None
    assert (known.holds_from, known.seq, known.ended) == (1, len(LOG), True)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree["data"].update(parameters={"n": 2}),
        lambda tree: tree["data"].update(extra=None),
        lambda tree: tree.update(type="step.progress"),
        lambda tree: tree.update(at="2026-11-20T07:00:03.001Z"),
        lambda tree: tree.update(tenant="other"),
        lambda tree: tree.update(attempt=2),
        lambda tree: tree.update(step="s1"),
        lambda tree: tree.update(more=1),
    ],
)
def test_an_edit_is_found_at_its_event(change: Callable[[dict[str, Any]], object]) -> None:
    assert first([*LOG[:3], edited(LOG[3], change), *LOG[4:]]) == (4, "changed")


@given(st.integers(0, len(LOG) - 1))
def test_an_event_without_its_chain_is_found(at: int) -> None:
    assert first([*LOG[:at], unchained(LOG[at]), *LOG[at + 1 :]]) == (at + 1, "unchained")


@given(st.integers(0, len(LOG) - 2), st.integers(1, 4))
def test_a_gap_is_found_at_its_first_number(at: int, length: int) -> None:
    left = [*LOG[:at], *LOG[at + length :]]
    if len(left) > at:
        assert first(left) == (at + 1, "missing")


@given(st.integers(0, len(LOG) - 1), st.integers(0, len(LOG) - 1))
def test_events_that_change_places_are_found(one: int, other: int) -> None:
    values = list(LOG)
    values[one], values[other] = values[other], values[one]
    found = first(values)
    assert found is None if one == other else found == (min(one, other) + 1, "missing")


def test_a_repeated_and_a_forged_event_are_found() -> None:
    assert first([*LOG[:5], LOG[4], *LOG[5:]]) == (5, "repeated")
    forged = edited(LOG[6], lambda tree: tree.update(type="step.progress"))
    assert first([*LOG[:6], forged, *LOG[6:]]) == (7, "changed")


def test_a_forged_event_with_a_good_hash_is_found_at_the_next() -> None:
    tree = orjson.loads(LOG[3])
    tree["data"]["tool"] = "rm"
    del tree["chain"]
    raw = orjson.dumps(tree)
    forged = with_chain(raw, link(orjson.loads(LOG[2])["chain"], raw))
    assert first([*LOG[:3], forged, *LOG[4:]]) == (5, "changed")


def test_only_asides_follow_the_end() -> None:
    end = len(LOG) + 1
    body = {"execution_id": orjson.loads(LOG[0])["execution_id"], "seq": end, "tenant": "acme"}
    body |= {"type": "step.dispatched", "at": "2026-11-20T09:00:00.000Z", "step": "s0"}
    for kind, expected in (
        ("step.dispatched", (end, "after_end")),
        ("step.late_result", None),
    ):
        raw = orjson.dumps({**body, "type": kind, "data": {}})
        added = with_chain(raw, link(orjson.loads(LOG[-1])["chain"], raw))
        assert first([*LOG, added]) == expected


def test_events_from_before_chains_are_accepted_up_to_a_moment_only() -> None:
    older = [unchained(value) for value in LOG[:5]]
    chain, newer = f"runstream:{orjson.loads(LOG[0])['execution_id']}", []
    for value in LOG[5:]:
        raw = unchained(value)
        chain = link(chain, raw)
        newer.append(with_chain(raw, chain))
    rules = Rules(unchained_until=LATER)
    assert first([*older, *newer]) == (1, "unchained")
    found, known = checked([*older, *newer], rules)
    assert found is None and known.holds_from == 6
    assert first([*older, *newer[:2], unchained(newer[2])], rules) == (8, "unchained")
    assert first([*older, newer[1]], rules) == (6, "missing")


def test_a_log_of_which_the_beginning_has_expired_holds_from_the_second_event_on() -> None:
    assert first(LOG[4:]) == (1, "missing")
    rules = Rules(may_begin_late=True)
    found, known = checked(LOG[4:], rules)
    assert found is None and known.holds_from == 6
    assert first([LOG[4], *LOG[6:]], rules) == (6, "missing")


def test_the_end_must_be_signed_where_somebody_knows_the_signature() -> None:
    def anchor(chain: str, signature: str | None) -> str | None:
        return None if signature == "good" else "it is not signed by the router"

    rules = Rules(anchor=anchor)
    assert first(LOG, rules) == (len(LOG), "unsigned")
    assert checked(LOG, rules, "good")[0] is None
    assert first(LOG[:-1], rules) is None
    assert replace(rules, anchor=None) == Rules()
