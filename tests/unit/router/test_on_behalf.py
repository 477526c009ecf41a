"""What the API signs on behalf of whoever showed it a token, and nobody else may say."""

from __future__ import annotations

from typing import Any

import pytest

from authority.identity import Forged, Signer, Vouched
from streams.topics import Topic
from tests.unit.router.simulation import Simulation, kinds

Json = dict[str, Any]

ORIGIN: Json = {"kind": "schedule", "name": "nightly", "cause": "now", "key": "k-ann"}
REQUEST: Json = {
    "tenant": "acme",
    "actor": "ann",
    "idempotency_key": "k",
    "on_behalf_of": {"key": "k-ann"},
    "plan": {"steps": [{"id": "one", "tool": "noop"}]},
}
APPROVED: Json = {**REQUEST, "plan": {**REQUEST["plan"], "approval_level": 1}}
API = Vouched("api-key", 5, "api")


class Keys:
    """Signed as the test says; `k-ann` is the key of ann and `k-bob` that of bob, both of acme."""

    def __init__(self) -> None:
        self.as_signed: Signer | Vouched | Forged | None = API
        self.known = {"k-ann": ("acme", "ann"), "k-bob": ("acme", "bob")}

    def signer(self, message: Any, topic: Topic, now: float) -> Signer | Vouched | Forged | None:
        return self.as_signed

    def of_key(self, kid: str, signed_at: int, now: float) -> Signer | Forged:
        if kid not in self.known:
            return Forged(f"the key {kid} is not trusted here")
        return Signer(kid, *self.known[kid], signed_at)

    def report_time(self, message: Any, domain: str | None, now: float) -> int | Forged:
        return round(now * 1_000_000)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def router(keys: Keys) -> Simulation:
    return Simulation(authentication=keys, require_signatures=True)


def test_it_has_the_rights_of_the_person_and_says_that_it_came_by_the_api(
    router: Simulation,
) -> None:
    (event, *_) = router.submit(REQUEST)
    assert event["type"] == "execution.accepted", event
    data = event["data"]
    assert (data["actor"], data["key"], data["via"]) == ("ann", "k-ann", "api-key")
    (audited,) = router.decisions(event["execution_id"])
    assert (audited["actor"], audited["key"], audited["via"]) == ("ann", "k-ann", "api-key")


@pytest.mark.parametrize(
    "signed",
    [Signer("k-bob", "acme", "bob", 1), Signer("k-ann", "acme", "ann", 1), Vouched("router", 5)],
    ids=["somebody else", "the person", "a router"],
)
def test_nobody_but_the_api_may_say_it(
    router: Simulation, keys: Keys, signed: Signer | Vouched
) -> None:
    keys.as_signed = signed
    (event, *_) = router.submit(REQUEST)
    assert (event["type"], event["data"]["reason"]) == ("execution.rejected", "not_authentic")
    assert "only the API may say" in event["data"]["message"]
    assert router.commands == []


def test_without_a_signature_it_is_worth_nothing_either(keys: Keys) -> None:
    keys.as_signed = None
    (event, *_) = Simulation(authentication=keys).submit(REQUEST)
    assert event["data"]["reason"] == "not_authentic"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"on_behalf_of": None}, "is that of the API, and signs nothing here"),
        ({"on_behalf_of": {"key": "k-eve"}}, "the key k-eve is not trusted here"),
        ({"on_behalf_of": {"key": "k-bob"}}, "is of the actor bob, and it names ann"),
        ({"tenant": "other"}, "is of the tenant acme, and it names other"),
        ({"started_by": ORIGIN}, "only a router may say that a schedule asks"),
    ],
)
def test_the_api_can_be_nobody_in_particular(router: Simulation, changed: Json, why: str) -> None:
    (event, *_) = router.submit({**REQUEST, **changed})
    assert (event["type"], event["data"]["reason"]) == ("execution.rejected", "not_authentic")
    assert why in event["data"]["message"]
    assert router.commands == [] and router.told == []


def test_a_plan_that_is_wrong_is_answered_as_to_the_person(router: Simulation) -> None:
    (event, *_) = router.submit({**REQUEST, "plan": {"steps": [{"tool": 1}]}})
    assert (event["type"], event["data"]["reason"]) == ("execution.rejected", "invalid")
    assert event["data"]["actor"] == "ann"


def test_who_asked_approves_nothing_by_the_api_and_another_does(
    router: Simulation, keys: Keys
) -> None:
    (accepted, *_) = router.submit(APPROVED)
    ident = accepted["execution_id"]
    (refused,) = router.control("approve", ident, actor="ann", on_behalf_of={"key": "k-ann"})
    assert refused["data"]["allowed"] is False
    keys.as_signed = Vouched("api-key", 6, "api")
    events = router.control("approve", ident, actor="bob", on_behalf_of={"key": "k-bob"})
    assert "execution.approved" in kinds(events)
    audit = router.decisions(ident)[-1]
    assert (audit["actor"], audit["allowed"], audit["via"]) == ("bob", True, "api-key")


def test_a_copy_of_a_command_is_refused_and_the_person_s_own_clock_is_another(
    router: Simulation, keys: Keys
) -> None:
    (accepted, *_) = router.submit(REQUEST)
    ident = accepted["execution_id"]
    by_api: Json = {"actor": "ann", "on_behalf_of": {"key": "k-ann"}}
    keys.as_signed = Vouched("api-key", 1_000, "api")
    assert kinds(router.control("pause", ident, **by_api)) == ["execution.paused"]
    (copy,) = router.control("pause", ident, **by_api)
    assert "was followed already" in copy["data"]["message"]
    # Her own machine's clock is behind that of the API.
    keys.as_signed = Signer("k-ann", "acme", "ann", 10)
    assert "execution.resumed" in kinds(router.control("resume", ident, actor="ann"))
