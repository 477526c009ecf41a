"""Requests of schedules and triggers: on whose behalf they are decided, and what is said back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from authority.identity import Forged, Signer, Vouched
from streams import topics
from streams.ids import route_of
from streams.schedules import StartEnded
from streams.topics import Topic
from tests.unit.router.simulation import Simulation

Json = dict[str, Any]

ORIGIN: Json = {"kind": "schedule", "name": "nightly", "cause": "2026-11-20T01:30:00Z", "key": "k1"}
REQUEST: Json = {
    "tenant": "acme",
    "actor": "release",
    "idempotency_key": "schedule:nightly:2026-11-20T01:30:00Z",
    "started_by": ORIGIN,
    "plan": {"steps": [{"id": "one", "tool": "noop"}]},
}


class ByRouter:
    """A router signs every record; `k1` is the key of release in the tenant acme."""

    def __init__(self) -> None:
        self.as_signed: Signer | Vouched | Forged | None = Vouched("router-key", 5)
        self.known = {"k1": ("acme", "release"), "k2": ("acme", "somebody")}

    def signer(self, message: Any, topic: Topic, now: float) -> Signer | Vouched | Forged | None:
        if isinstance(self.as_signed, Vouched):
            return Vouched("router-key", round(now * 1_000_000))
        return self.as_signed

    def of_key(self, kid: str, signed_at: int, now: float) -> Signer | Forged:
        if kid not in self.known:
            return Forged(f"the key {kid} is not trusted here")
        return Signer(kid, *self.known[kid], signed_at)

    def report_time(self, message: Any, domain: str | None, now: float) -> int | Forged:
        return round(now * 1_000_000)


@pytest.fixture
def keys() -> ByRouter:
    return ByRouter()


@pytest.fixture
def router(keys: ByRouter) -> Simulation:
    return Simulation(authentication=keys, require_signatures=True)


def ended(router: Simulation) -> list[tuple[str, str, str | None]]:
    told = [one for one in router.told if isinstance(one, StartEnded)]
    assert all((one.tenant, one.name) == ("acme", "nightly") for one in told)
    return [(one.execution_id, one.status, one.reason) for one in told]


def test_it_has_the_rights_of_whoever_applied_the_schedule(router: Simulation) -> None:
    (event, *_) = router.submit(REQUEST)
    assert event["type"] == "execution.accepted", event
    assert event["data"]["actor"] == "release"
    assert event["data"]["key"] == "k1"
    assert event["data"]["started_by"] == ORIGIN
    audited = router.decisions(event["execution_id"])
    assert [(one["actor"], one["allowed"]) for one in audited] == [("release", True)]


def test_the_schedule_is_told_of_the_end_once_after_a_restart_too(router: Simulation) -> None:
    (event, *_) = router.submit(REQUEST)
    router.restart()
    command = router.take()
    router.run(command)
    assert ended(router) == [(event["execution_id"], "completed", None)]
    # What comes after the end, such as a late report, is no second end.
    router.report("succeeded", command)
    router.restart()
    router.wait(3_600)
    assert len(ended(router)) == 1


def test_a_failure_says_why(router: Simulation) -> None:
    (event, *_) = router.submit(REQUEST)
    router.fail(router.take())
    ((ident, status, _),) = ended(router)
    assert (ident, status) == (event["execution_id"], "failed")


def test_a_key_that_counts_no_more_starts_nothing(router: Simulation, keys: ByRouter) -> None:
    del keys.known["k1"]
    (event, *_) = router.submit(REQUEST)
    assert event["type"] == "execution.rejected"
    assert event["data"]["message"] == "the key k1 is not trusted here"
    assert ended(router) == [
        (event["execution_id"], "rejected", "the key k1 is not trusted here"),
    ]
    assert router.commands == []


def test_a_schedule_of_another_actor_or_tenant_starts_nothing(
    router: Simulation, keys: ByRouter
) -> None:
    (event, *_) = router.submit({**REQUEST, "started_by": {**ORIGIN, "key": "k2"}})
    assert event["data"]["message"] == "the key k2 is of the actor somebody, and it names release"
    keys.known["k1"] = ("other", "release")
    (event, *_) = router.submit(REQUEST)
    assert event["data"]["message"] == "the key k1 is of the tenant other, and it names acme"


def test_without_a_key_it_is_nobodys() -> None:
    request = {**REQUEST, "started_by": {**ORIGIN, "key": None}}
    strict = Simulation(authentication=ByRouter(), require_signatures=True)
    (event, *_) = strict.submit(request)
    assert (event["type"], event["data"]["reason"]) == ("execution.rejected", "not_authentic")
    (event, *_) = Simulation(authentication=ByRouter()).submit(request)
    assert (event["type"], event["data"]["actor"]) == ("execution.accepted", "anonymous")
    assert event["data"]["claimed_actor"] == "release"


@pytest.mark.parametrize("signed", [None, Signer("k1", "acme", "release", 1)])
def test_only_a_router_says_what_started_it(
    router: Simulation, keys: ByRouter, signed: Signer | None
) -> None:
    keys.as_signed = signed
    (event, *_) = router.submit(REQUEST)
    assert (event["type"], event["data"]["reason"]) == ("execution.rejected", "not_authentic")
    assert event["data"]["message"] == (
        "only a router may say that a schedule asks for it: leave that out"
    )
    # Nobody may end, by a request, what a schedule waits for.
    assert router.told == []


def test_a_router_asks_for_nothing_by_itself(router: Simulation) -> None:
    request = {name: value for name, value in REQUEST.items() if name != "started_by"}
    (event, *_) = router.submit(request)
    assert event["data"]["message"] == (
        "the key router-key is that of a router, and signs nothing here"
    )


def test_the_same_moment_again_is_a_duplicate(router: Simulation) -> None:
    (first, *_) = router.submit(REQUEST)
    (event, *_) = router.submit(REQUEST)
    assert event["type"] == "execution.duplicate"
    reason = f"this moment was run by {first['execution_id']}"
    assert ended(router) == [(first["execution_id"], "duplicate", reason)]


def test_what_cannot_be_read_as_a_request_is_told_too(router: Simulation) -> None:
    (event, *_) = router.submit({**REQUEST, "plan": {"steps": [{"id": "one"}]}})
    assert (event["type"], event["data"]["reason"]) == ("execution.rejected", "invalid")
    ((_, status, reason),) = ended(router)
    assert status == "rejected"
    assert reason == event["data"]["message"]


def test_a_schedule_cancels_what_it_started(router: Simulation) -> None:
    (event, *_) = router.submit(REQUEST)
    ident = event["execution_id"]
    command = {"type": "cancel", "execution_id": ident, "actor": "release", "schedule": ORIGIN}
    key = route_of(ident).encode()
    found = router.produce(topics.CONTROL, orjson.dumps(command), key)
    assert "execution.cancel_requested" in [one["type"] for one in found]
    refused = {**command, "schedule": None}
    (event, *_) = router.produce(topics.CONTROL, orjson.dumps(refused), key)
    assert event["type"] == "audit.decision"
    assert not event["data"]["allowed"]


def test_a_trigger_is_not_told() -> None:
    router = Simulation(authentication=ByRouter())
    router.submit({**REQUEST, "started_by": {**ORIGIN, "kind": "trigger"}})
    router.run(router.take())
    assert router.told == []
