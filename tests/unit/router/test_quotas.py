"""Quotas of tenants: what is counted, what is refused, and when it is free again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from processors.router.quotas import OverQuota, Quota, Usage
from streams.ids import mint_execution_id
from tests.unit.router.simulation import START, Simulation

NOOP = {"tool": "noop", "parameters": {}}
MANY = Quota(1_000, 1_000, 1_000)


def request(number: int, tenant: str = "acme", steps: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "actor": "ci",
        "idempotency_key": f"k{number}",
        "plan": {"name": "p", "steps": [NOOP] * steps},
        **fields,
    }


class Limited(Simulation):
    """A router whose tenants have a quota; `other` has a large one."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        super().__init__()

    def _fresh(self) -> Any:
        hosted = super()._fresh()
        hosted.router.requests = replace(
            hosted.router.requests,
            quota_of=lambda tenant: MANY if tenant == "other" else self.quota,
        )
        return hosted


def rejected(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    found = [event["data"] for event in events if event["type"] == "execution.rejected"]
    return found[0] if found else None


def test_a_tenant_has_so_many_active_executions_and_no_more() -> None:
    router = Limited(Quota(2, 1_000, 1_000))
    assert rejected(router.submit(request(1))) is None
    assert rejected(router.submit(request(2))) is None
    refused = rejected(router.submit(request(3)))
    assert refused is not None
    assert refused["reason"] == "quota"
    assert refused["problems"][0]["field"] == "active_executions"
    assert "2 active executions" in refused["message"]
    assert rejected(router.submit(request(3, tenant="other"))) is None
    router.run(router.take())
    assert rejected(router.submit(request(3))) is None, "one has ended, and the key is free"


def test_a_repetition_is_a_duplicate_and_not_over_the_quota() -> None:
    router = Limited(Quota(1, 1_000, 1_000))
    router.submit(request(1))
    (event,) = router.submit(request(1))
    assert event["type"] == "execution.duplicate"


def test_the_hour_says_when_it_is_free_again() -> None:
    router = Limited(Quota(1_000, 2, 1_000))
    for number in (1, 2):
        router.submit(request(number))
        router.run(router.take())
    refused = rejected(router.submit(request(3)))
    assert refused is not None
    assert refused["problems"][0]["field"] == "executions_per_hour"
    assert "2026-09-21T15:13:00.000Z" in refused["message"], "an hour after the minute of the first"
    router.wait(3_700.0)
    assert rejected(router.submit(request(3))) is None


def test_steps_are_counted_too_and_a_plan_that_never_fits_is_told_so() -> None:
    router = Limited(Quota(1_000, 1_000, 5))
    assert rejected(router.submit(request(1, steps=3))) is None
    refused = rejected(router.submit(request(2, steps=3)))
    assert refused is not None
    assert refused["problems"][0]["field"] == "steps_per_hour"
    assert "submit it again at" in refused["message"]
    never = rejected(router.submit(request(3, steps=6)))
    assert never is not None
    assert "split the plan" in never["message"]


def test_a_restart_forgets_no_usage() -> None:
    router = Limited(Quota(2, 3, 1_000))
    router.submit(request(1))
    router.submit(request(2))
    router.run(router.take())
    router.restart()
    assert rejected(router.submit(request(3))) is None
    refused = rejected(router.submit(request(4)))
    assert refused is not None and refused["problems"][0]["field"] == "active_executions"
    router.run(router.take())
    refused = rejected(router.submit(request(4)))
    assert refused is not None and refused["problems"][0]["field"] == "executions_per_hour"


def test_a_rerun_counts_and_is_refused_over_the_quota() -> None:
    router = Limited(Quota(1, 1_000, 1_000))
    first = router.submit(request(1, plan={"steps": [{**NOOP, "on_failure": "stop"}]}))
    execution = first[0]["execution_id"]
    router.fail(router.take())
    router.submit(request(2))
    (audit,) = router.control("rerun", execution)
    assert (audit["type"], audit["data"]["allowed"]) == ("audit.decision", False)
    assert "active_executions" in audit["data"]["message"]
    router.run(router.take())
    events = router.control("rerun", execution)
    assert any(event["type"] == "execution.accepted" for event in events)


def test_a_refusal_by_quota_costs_no_look_at_the_plan() -> None:
    """Its expression would be a problem of its own; a tenant over its quota buys no evaluation."""
    router = Limited(Quota(1, 1_000, 1_000))
    router.submit(request(1))
    bad = request(2, plan={"steps": [{**NOOP, "when": "1 +"}]})
    refused = rejected(router.submit(bad))
    assert refused is not None and refused["reason"] == "quota"


@pytest.mark.parametrize(("quota", "share"), [(1, 1), (8, 1), (9, 2), (400, 50)])
def test_a_partition_enforces_its_share(quota: int, share: int) -> None:
    usage, limit = Usage(), Quota(quota, 10**6, 10**6)
    for _ in range(share):
        assert usage.over("acme", limit, 1, START, 8) is None
        usage.accepted("acme", 1, START)
    assert isinstance(usage.over("acme", limit, 1, START, 8), OverQuota)


def test_tenants_that_have_nothing_take_no_memory() -> None:
    usage = Usage()
    for number in range(100):
        usage.accepted(f"t{number}", 1, START)
        usage.ended(f"t{number}")
    usage.accepted("living", 1, START)
    usage.expire(START + 7_200)
    assert len(usage) == 1


def test_minutes_are_bounded_whatever_the_clock_does() -> None:
    usage = Usage()
    for minute in range(10_000):
        usage.accepted("acme", 1, START + 60.0 * minute)
    known = usage._tenants["acme"]
    assert len(known.minutes) <= 61
    assert known.executions == sum(count for count, _ in known.minutes.values())


def test_an_id_with_a_time_after_its_end_counts_at_its_end() -> None:
    usage = Usage()
    ahead = mint_execution_id("0" * 8, int((START + 9_999) * 1_000), 1)
    usage.restored("acme", 1, ahead, START)
    assert usage.over("acme", Quota(9, 1, 9), 1, START + 3_700, 1) is None
