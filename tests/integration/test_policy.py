"""The policy on the real broker: signed and unsigned records, roles, approvals, reload."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from authority.key_files import changing_trusted
from authority.keys import KeyUse, PrivateKey
from authority.tokens import sign
from streams.envelope import SIGNATURE
from streams.ids import mint_execution_id, route_key, route_of
from streams.topics import CONTROL, EVENTS, REQUESTS, Topic
from tests.integration.router_lab import EXECUTOR, RouterLab, router_lab
from tests.integration.test_router_group import USED

NOOP: dict[str, Any] = {"tool": "noop"}
POLICY = """
version: 1
roles:
  lead:
    - {tenants: [default], actors: [carol, dan]}
rules:
  - {id: anonymous-dev, effect: allow, actors: [anonymous], environments: [dev],
     approval_levels: [0], actions: ["*"]}
  - {id: anonymous-dev-controls, effect: allow, actors: [anonymous], environments: [dev],
     own: true, controls: [cancel, explain]}
  - {id: ann-runs, effect: allow, actors: [ann], actions: ["*"]}
  - {id: ann-steers, effect: allow, actors: [ann], own: true, controls: [cancel, rerun]}
  - {id: first-level, effect: allow, actors: [bob], controls: [approve], approval_levels: [1]}
  - {id: second-level, effect: allow, roles: [lead], controls: [approve], approval_levels: [1, 2]}
  - {id: no-payments, effect: deny, actors: ["*"], assets: [pay-01], actions: ["*"]}
"""


class PolicyLab:
    """A router with a policy file, and actors with keys."""

    def __init__(self, lab: RouterLab, folder: Path, policy: str = POLICY) -> None:
        self.lab = lab
        self.file = folder / "policy.yaml"
        self.file.write_text(policy)
        self._trusted = lab.keys.folder.trusted
        self._keys: dict[tuple[str, str], PrivateKey] = {}
        for actor in ("ann", "bob", "carol", "dan"):
            self._add("default", actor)
        self._add("other", "ann")
        self._cluster = lab.keys.cluster(EVENTS)
        lab.start("router", policy=self.file)
        lab.start("executor", EXECUTOR)

    def _add(self, tenant: str, actor: str) -> None:
        key = PrivateKey.generate(KeyUse(role="actor", tenant=tenant, actor=actor))
        with changing_trusted(self._trusted) as trusted:
            trusted[key.kid] = key.trusted
        self._keys[tenant, actor] = key

    def key_of(self, actor: str) -> str:
        return self._keys["default", actor].kid

    def send(
        self, topic: Topic, body: dict[str, Any], key: bytes | None, signer: str | None, tenant: str
    ) -> None:
        value = orjson.dumps(body)
        headers: Any = []
        if signer is not None:
            pair = self._keys[tenant, signer]
            token = sign(pair, topic.name, self._cluster, value, time.time())
            headers = [(SIGNATURE, token)]
        name = self.lab.prefix + topic.name
        self.lab._producer.produce(name, value=value, key=key, headers=headers)
        self.lab.flush()

    def request(
        self,
        signer: str | None,
        *steps: dict[str, Any],
        tenant: str = "default",
        explain: bool = False,
        **plan: Any,
    ) -> str:
        """Send a request; returns the execution id of its first event."""
        key = uuid.uuid4().hex
        body: dict[str, Any] = {
            "idempotency_key": key, "tenant": tenant, "plan": {"steps": list(steps), **plan},
        }  # fmt: skip
        if signer is not None:
            body["actor"] = signer
        if explain:
            body["explain"] = True
            body["execution_id"] = mint_execution_id(route_key(tenant, key), 1, 1)
        self.send(REQUESTS, body, None, signer, tenant)

        def found() -> str | None:
            for ident, events in self.lab.log.events.items():
                known = events[0]["data"].get("idempotency_key") == key
                if known or ident == body.get("execution_id"):
                    return ident
            return None

        self.lab.until(lambda: found() is not None, "an answer to the request")
        return str(found())

    def command(
        self,
        signer: str | None,
        kind: str,
        ident: str,
        tenant: str = "default",
        **fields: Any,
    ) -> dict[str, Any]:
        """Send a control message; returns the data of the decision about it."""
        before = len(self.decisions(ident))
        body = {"type": kind, "execution_id": ident, **fields}
        if signer is not None:
            body["actor"] = signer
        self.send(CONTROL, body, route_of(ident).encode(), signer, tenant)
        self.lab.until(lambda: len(self.decisions(ident)) > before, f"a decision about {kind}")
        return self.decisions(ident)[before]

    def decisions(self, ident: str) -> list[dict[str, Any]]:
        events = self.lab.log.events[ident]
        return [event["data"] for event in events if event["type"] == "audit.decision"]

    def until(self, ident: str, kind: str) -> dict[str, Any]:
        """Wait for an event of this type; returns its data."""

        def found() -> list[dict[str, Any]]:
            return [e["data"] for e in self.lab.log.events[ident] if e["type"] == kind]

        self.lab.until(lambda: bool(found()), f"{kind} of {ident}")
        return found()[0]

    def refused(self, ident: str) -> dict[str, Any]:
        """The data of the rejection and, in `audit`, of the decision that it follows from."""
        data = self.until(ident, "execution.rejected")
        return {**data, "audit": self.until(ident, "audit.decision")}


@pytest.fixture
def lab(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[PolicyLab]:
    with router_lab(kafka, topics(*USED), tmp_path) as made:
        yield PolicyLab(made, tmp_path)


def test_the_policy_holds_for_records_on_the_broker(lab: PolicyLab) -> None:
    # Unsigned: anonymous, whoever it names, within its limits.
    free = lab.request(None, NOOP)
    lab.until(free, "execution.completed")
    (allowed,) = lab.decisions(free)
    assert (allowed["actor"], allowed["rule"], allowed["allowed"]) == (
        "anonymous", "anonymous-dev", True,
    )  # fmt: skip
    for plan in ({"environment": "prod"}, {"environment": "staging"}, {"approval_level": 1}):
        data = lab.refused(lab.request(None, NOOP, **plan))
        assert data["reason"] == "forbidden"
        assert data["problems"][0]["field"] == "plan.steps[0].tool"
        assert data["audit"]["rule"] == "default-deny"

    # Signed: by the rule of the actor; default deny for one without a rule; deny wins.
    own = lab.request("ann", {"tool": "sleep", "parameters": {"seconds": 60}})
    lab.until(own, "step.started")
    (allowed,) = lab.decisions(own)
    assert (allowed["rule"], allowed["key"]) == ("ann-runs", lab.key_of("ann"))
    assert lab.refused(lab.request("bob", NOOP))["audit"]["rule"] == "default-deny"
    denied = lab.refused(lab.request("ann", {**NOOP, "assets": ["PAY-01"]}))
    assert denied["audit"]["rule"] == "no-payments"
    assert "rule no-payments denies" in denied["problems"][0]["message"]

    # Control: another actor, anonymous, another tenant; then the one who asked.
    assert lab.command("bob", "cancel", own)["rule"] == "default-deny"
    assert lab.command(None, "cancel", own)["rule"] == "default-deny"
    assert not lab.command("ann", "cancel", own, tenant="other")["allowed"]
    assert not any(e["type"] == "execution.cancel_requested" for e in lab.lab.log.events[own])
    yes = lab.command("ann", "cancel", own)
    assert (yes["allowed"], yes["rule"]) == (True, "ann-steers")
    lab.until(own, "execution.cancelled")


def test_a_second_level_approval_needs_two_with_the_role_and_the_hash(lab: PolicyLab) -> None:
    ident = lab.request("ann", NOOP, approval_level=2)
    plan_hash = lab.until(ident, "execution.approval_requested")["plan_hash"]
    assert lab.command("bob", "approve", ident, plan_hash=plan_hash)["rule"] == "default-deny"
    blind = lab.command("carol", "approve", ident)
    assert not blind["allowed"]
    assert "plan_hash" in blind["message"]
    assert not lab.command("carol", "approve", ident, plan_hash="0" * 64)["allowed"]
    first = lab.command("carol", "approve", ident, plan_hash=plan_hash)
    assert (first["allowed"], first["rule"]) == (True, "second-level")
    assert not lab.command("carol", "approve", ident, plan_hash=plan_hash)["allowed"]
    assert not lab.command(None, "approve", ident, plan_hash=plan_hash)["allowed"]
    assert lab.command("dan", "approve", ident, plan_hash=plan_hash)["allowed"]
    lab.until(ident, "execution.completed")


def test_a_changed_policy_counts_without_a_restart_and_a_broken_one_does_not(
    lab: PolicyLab,
) -> None:
    assert lab.refused(lab.request("bob", NOOP))["reason"] == "forbidden"

    def replace(text: str) -> None:
        new = lab.file.with_suffix(".new")
        new.write_text(text)
        new.replace(lab.file)

    replace(POLICY + "  - {id: bob-runs, effect: allow, actors: [bob], actions: [read]}\n")
    lab.lab.until(lambda: len(lab.lab.events("router", "policy_read")) == 2, "the new policy")
    ident = lab.request("bob", NOOP)
    lab.until(ident, "execution.completed")
    assert lab.decisions(ident)[0]["rule"] == "bob-runs"

    replace("version: 1\nrules: [")
    lab.lab.until(lambda: bool(lab.lab.events("router", "policy_unusable")), "the error")
    lab.until(lab.request("bob", NOOP), "execution.completed")


def test_a_foreign_client_asks_what_would_happen(lab: PolicyLab) -> None:
    ident = lab.request(None, NOOP, environment="dev", explain=True)
    told = lab.until(ident, "execution.explained")
    assert told["answer"] == "accepted"
    assert told["calls"][0]["rule"] == "anonymous-dev"
    later = lab.request(None, NOOP)
    lab.until(later, "execution.completed")
    assert [event["type"] for event in lab.lab.log.events[ident]] == ["execution.explained"]


def test_a_router_with_a_broken_policy_does_not_start(
    kafka: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    with router_lab(kafka, topics(*USED), tmp_path) as made:
        PolicyLab(made, tmp_path, policy="version: 2\nrules: []\n")
        assert made.processes["router"].wait(60) == 2
        said = (tmp_path / "router.log").read_text()
    assert "RUNSTREAM_POLICY" in said
    assert "line 1: version" in said
