"""The plan cache: a known plan is admitted as if it were checked again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from processors.router import plan_cache
from processors.router.admission import admit
from processors.router.plan_cache import PlanCache
from processors.router.request_decoder import decode_request
from processors.router.resolution import Readable
from streams.payloads import Accepted
from toolmeta import registry

TOOLS = registry.load(test_tools=True)


def _read(actor: str = "ann", **plan: Any) -> Readable:
    body = {"actor": actor, "plan": {"steps": [{"tool": "noop", "parameters": {}}], **plan}}
    found = decode_request(orjson.dumps(body))
    assert isinstance(found, Readable)
    return found


def test_each_acceptance_is_its_own() -> None:
    cache = PlanCache(TOOLS)
    first, second = _read("ann", name="patch"), _read("bob", name="patch")
    one = cache.admit(first.request, first.plan_hash, "key-1", 1)
    two = cache.admit(second.request, second.plan_hash, "key-2", 3)
    assert isinstance(one, Accepted)
    assert one == admit(first.request, first.plan_hash, "key-1", TOOLS, 1)
    assert two == admit(second.request, second.plan_hash, "key-2", TOOLS, 3)
    # The plan itself is one object: that is what saves the time.
    assert isinstance(two, Accepted)
    assert two.plan is one.plan


def test_who_signed_one_request_is_not_told_of_another() -> None:
    cache = PlanCache(TOOLS)
    read = _read("ann", name="patch")
    signed = cache.admit(read.request, read.plan_hash, "key-1", 1)
    assert isinstance(signed, Accepted)
    signed.key, signed.signed_at, signed.claimed_actor = "ann-1", 7, "ann"
    unsigned = cache.admit(read.request, read.plan_hash, "key-2", 1)
    assert isinstance(unsigned, Accepted)
    assert (unsigned.key, unsigned.signed_at, unsigned.claimed_actor) == (None, None, None)


def test_what_makes_a_difference_to_admission_is_part_of_the_hash() -> None:
    cache = PlanCache(TOOLS)
    for plan in ({}, {"environment": "prod"}, {"approval_level": 2}, {"timeout_seconds": 7}):
        read = _read(**plan)
        found = cache.admit(read.request, read.plan_hash, "key", 1)
        assert found == admit(read.request, read.plan_hash, "key", TOOLS, 1)


def test_a_refused_plan_is_checked_each_time() -> None:
    cache = PlanCache(TOOLS)
    read = _read(steps=[{"tool": "no-such-tool"}])
    for _ in range(2):
        found = cache.admit(read.request, read.plan_hash, "key", 1)
        assert isinstance(found, list)
        assert [problem.field for problem in found] == ["plan.steps[0].tool"]
    assert not cache._plans


def test_it_is_bounded_in_plans_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "MAX_PLANS", 3)
    cache = PlanCache(TOOLS)
    for number in range(5):
        read = _read(name=f"plan {number}")
        cache.admit(read.request, read.plan_hash, "key", 1)
    assert len(cache._plans) == 3
    monkeypatch.setattr(plan_cache, "MAX_BYTES", 1)
    read = _read(name="one more")
    cache.admit(read.request, read.plan_hash, "key", 1)
    assert not cache._plans
    assert cache._bytes == 0
