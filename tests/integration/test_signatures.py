"""Forged records on a real broker: none has an effect, and each is written down.

Every kind of record is sent in every forged form, all of a kind to one execution. What is said of
each is compared with a table that names the forms, so that a form that is taken, or is refused for
another reason, shows as itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from streams import ids
from streams.topics import CONTROL, EXECUTORS_CONTROL, REPORTS, REQUESTS, STEPS, Topic
from tests.forging import FORMS, NOTE
from tests.integration.router_lab import EXECUTOR
from tests.integration.signed_lab import QUICK, SLEEP, SignedLab, signed_lab, success

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: What is said of a record in each forged form of tests/forging.py.
_SAID: Final = {
    "not signed": "not signed",
    "no signature at all": "no compact JWS with EdDSA",
    "a key that nobody trusts": "is not trusted here",
    "none": "no compact JWS with EdDSA",
    "HS256 with the public key": "no compact JWS with EdDSA",
    "RS256": "no compact JWS with EdDSA",
    "another topic": "for the topic 'execution.output'",
    "another cluster": "for the cluster 'another'",
    "expired": "has expired",
    "one byte changed": "for another value",
}
#: The same of requests and control messages, which count in a window.
_SAID_OF_ACTORS: Final = {"too old": " s old; ", "signed ahead": "s ahead of the clock here"}
_OTHER_ROLE: Final = {
    "actor": "signs nothing here",
    "router": "is not that of a router",
    "executor": "is not that of an executor",
}
Forgery = tuple[bytes, str | None]


@pytest.fixture(scope="module", params=["required", "optional"])
def signed(
    request: pytest.FixtureRequest, kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SignedLab]:
    """With RUNSTREAM_REQUIRE_SIGNATURES on and off."""
    folder = Path(tmp_path_factory.mktemp("signed"))
    with signed_lab(kafka, folder, required=request.param == "required") as lab:
        yield lab


def by_other_keys(signed: SignedLab, role: str) -> dict[str, tuple[str, str]]:
    """Keys that the processes trust, and that must not count: what is said of each."""
    expired = {"actor": "operator", "router": "router", "executor": "executor"}[role]
    found = {
        f"expired {expired}": "does not count: it expired",
        "of another tenant": "is of the tenant other",
        "of another actor": "is of the actor mallory",
        "of another domain": _OTHER_ROLE[role],
        "router": _OTHER_ROLE[role],
    }
    if role != "actor":
        other = _OTHER_ROLE[role]
        found |= {"of another tenant": other, "of another actor": other, "operator": other}
    if role == "router":
        del found["router"]
        found["executor"] = _OTHER_ROLE[role]
    if role == "executor":
        found["of another domain"] = "is for network, and the step is test"
    return {f"key {name}": (name, said) for name, said in found.items()}


def forged(
    signed: SignedLab, role: str, topic: Topic, values: dict[str, bytes]
) -> dict[str, Forgery]:
    """Each value in the form of its name."""
    own = {"actor": "operator"}.get(role, role)
    others = by_other_keys(signed, role)
    found: dict[str, Forgery] = {}
    for form, value in values.items():
        key = others[form][0] if form in others else own
        one = signed.genuine(key, topic, value)
        if form in FORMS:
            found[form] = FORMS[form](one)
        else:
            found[form] = (value, one.token())
    return found


def expected(signed: SignedLab, role: str) -> dict[str, str]:
    """What is said of every form of a record that a key of this role signs.

    Where signatures are optional, an actor's record without one is no forgery.
    """
    said = {**_SAID, **{form: told for form, (_, told) in by_other_keys(signed, role).items()}}
    if role == "actor":
        said |= _SAID_OF_ACTORS
        if not signed.required:
            del said["not signed"]
    return said


def unlike(expected: dict[str, str], told: list[str]) -> dict[str, tuple[str, str]]:
    """The forms of which something else was said."""
    assert len(told) == len(expected), told
    pairs = zip(expected.items(), told, strict=True)
    return {form: (said, found) for (form, said), found in pairs if said not in found}


def test_forged_requests_start_nothing(signed: SignedLab) -> None:
    said = expected(signed, "actor")
    keys: dict[str, str] = {}
    values: dict[str, bytes] = {}
    for form in said:
        keys[form], values[form] = signed.request(QUICK)
    for value, token in forged(signed, "actor", REQUESTS, values).values():
        signed.write(REQUESTS, b"", value, token)
    told = []
    for key in keys.values():
        rejected, audit = signed.rejection(key)
        assert rejected["reason"] == "not_authentic"
        assert (audit["rule"], audit["allowed"], audit["action"]) == ("signature", False, "run")
        assert (audit["actor"], audit["claimed_actor"]) == ("anonymous", "ops")
        told.append(audit["message"])
    assert unlike(said, told) == {}
    assert not signed.lab.ids_of(set(keys.values()))
    # The same requests, signed as they should be, run: nothing but their signatures was wrong.
    for value in values.values():
        signed.write(REQUESTS, b"", value, signed.genuine("operator", REQUESTS, value).token())
    done = signed.lab.wait_ended(set(keys.values()))
    assert {signed.lab.log.ends(one)[0] for one in done.values()} == {"execution.completed"}


def test_forged_cancels_end_nothing(signed: SignedLab) -> None:
    execution_id = signed.running()
    _forge_controls(signed, execution_id, signed.control("cancel", execution_id), "cancel")
    signed.still_runs(execution_id)


def test_forged_approvals_approve_nothing(signed: SignedLab) -> None:
    execution_id = signed.submit(QUICK, approval_level=1)
    plan_hash = signed.until(execution_id, "execution.approval_requested")["data"]["plan_hash"]
    fields = {"plan_hash": plan_hash}
    value = signed.control("approve", execution_id, **fields)
    _forge_controls(signed, execution_id, value, "approve")
    # Good signatures, of somebody who may not, and of another plan.
    signed.do("approve", execution_id, **fields)
    own = signed.decisions(execution_id, "approve", len(_actor_forms(signed)) + 1)
    assert not own["allowed"] and "asked for this execution" in own["message"]
    byte = plan_hash.replace(plan_hash[0], "0" if plan_hash[0] != "0" else "1", 1)
    for number, other in enumerate((byte, "0" * 64), 2):
        signed.do("approve", execution_id, "approver", actor="ann", plan_hash=other)
        told = signed.decisions(execution_id, "approve", len(_actor_forms(signed)) + number)
        assert not told["allowed"] and "another hash" in told["message"], told
        assert told["rule"] == "admin-controls"
    assert not signed.of(execution_id, "execution.approved")
    assert not signed.effects(execution_id)
    signed.do("approve", execution_id, "approver", actor="ann", **fields)
    signed.until(execution_id, "execution.completed")
    assert signed.effects(execution_id) == ["one"]


def _actor_forms(signed: SignedLab) -> dict[str, str]:
    return expected(signed, "actor")


def _forge_controls(signed: SignedLab, execution_id: str, value: bytes, action: str) -> None:
    said = _actor_forms(signed)
    values = dict.fromkeys(said, value)
    for changed, token in forged(signed, "actor", CONTROL, values).values():
        signed.write(CONTROL, ids.route_of(execution_id).encode(), changed, token)
    refused = signed.refusals(execution_id, len(said))
    assert {data["action"] for data in refused} == {action}
    assert {data["claimed_actor"] for data in refused} == {"ops"}
    assert unlike(said, [data["message"] for data in refused]) == {}


def test_no_verb_is_followed_without_a_good_signature(signed: SignedLab) -> None:
    execution_id = signed.running()
    verbs: dict[str, dict[str, Any]] = {
        "cancel": {}, "approve": {"plan_hash": "0" * 64}, "reject": {}, "pause": {}, "resume": {},
        "rerun": {}, "resolve": {"step": "one", "outcome": "failed"}, "redrive": {"step": "one"},
    }  # fmt: skip
    for verb, fields in verbs.items():
        value = signed.control(verb, execution_id, **fields)
        token = signed.genuine("of another actor", CONTROL, value).token()
        signed.write(CONTROL, ids.route_of(execution_id).encode(), value, token)
    refused = signed.refusals(execution_id, len(verbs))
    assert [data["action"] for data in refused] == list(verbs)
    kinds = {event["type"] for event in signed.lab.log.events[execution_id]}
    assert not kinds & {"execution.paused", "execution.rejected", "step.failed"}
    signed.still_runs(execution_id)


def test_forged_commands_run_nothing(signed: SignedLab) -> None:
    execution_id = signed.running()
    topic, record, _ = signed.command(execution_id)
    body = orjson.loads(record.value() or b"")
    said = {**expected(signed, "router"), "too old": "after it was signed: a copy"}

    def other(step: str) -> bytes:
        return orjson.dumps({**body, "step": step, "tool": "noop", "parameters": {}, **NOTE})

    values = {form: other(f"forged-{number}") for number, form in enumerate(said)}
    sent = forged(signed, "router", topic, values)
    for value, token in sent.values():
        signed.write(topic, execution_id.encode(), value, token)
    refused = signed.refusals(execution_id, len(said))
    assert {data["action"] for data in refused} == {"command"}
    assert unlike(said, [data["message"] for data in refused]) == {}
    letters = signed.dead(topic, {value for value, _ in sent.values()})
    assert set(letters.values()) == {"not_authentic"} and len(letters) == len(said)
    assert signed.effects(execution_id) == ["one"]
    # Signed by the router's key, in the same place, it runs: no more than the signature is wrong.
    value = other("genuine")
    signed.write(
        topic, execution_id.encode(), value, signed.genuine("router", topic, value).token()
    )
    signed.lab.until(lambda: "genuine" in signed.effects(execution_id), "the genuine one")
    assert signed.effects(execution_id) == ["one", "genuine"]
    signed.still_runs(execution_id)


def test_a_rendered_parameter_cannot_be_changed(signed: SignedLab) -> None:
    rendered = {"seconds": 300, "value": "{{ steps.first.output.value }}"}
    execution_id = signed.submit(
        {"id": "first", "tool": "noop", "parameters": {"value": "rendered-a"}},
        {"id": "one", "tool": "sleep", "parameters": rendered},
    )
    signed.until(execution_id, "step.started", 2)
    topic, record, token = signed.command(execution_id)
    value = record.value() or b""
    assert value.count(b"rendered-a") == 1
    changed = value.replace(b"rendered-a", b"rendered-b")
    signed.write(topic, record.key() or b"", changed, token)
    (data,) = signed.refusals(execution_id)
    assert (data["action"], "for another value" in data["message"]) == ("command", True)
    assert signed.dead(topic, {changed}) == {changed: "not_authentic"}
    assert signed.effects(execution_id) == ["first", "one"]
    signed.still_runs(execution_id)


def test_forged_cancels_of_a_step_stop_nothing(signed: SignedLab) -> None:
    execution_id = signed.running()
    attempt = {"execution_id": execution_id, "step": "one", "attempt": 1}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    value = orjson.dumps({**attempt, "reason": "cancelled", "at": at, **NOTE})
    # Of any age: what was once cancelled stays so.
    said = expected(signed, "router")
    values = dict.fromkeys(said, value)

    def refused() -> list[str]:
        return [line["why"] for line in signed.lab.events("executor", "cancel refused")]

    before = len(refused())
    for changed, token in forged(signed, "router", EXECUTORS_CONTROL, values).values():
        key = ids.attempt_id(execution_id, "one", 1).encode()
        signed.write(EXECUTORS_CONTROL, key, changed, token)
    signed.lab.until(lambda: len(refused()) >= before + len(said), "refused cancels")
    assert unlike(said, refused()[before:]) == {}
    audits = signed.refusals(execution_id, len(said))
    assert {data["action"] for data in audits} == {"cancel_step"}
    assert unlike(said, [data["message"] for data in audits]) == {}
    signed.still_runs(execution_id)


def test_forged_reports_end_no_step(signed: SignedLab) -> None:
    execution_id = signed.running()
    route = ids.route_of(execution_id).encode()
    said = expected(signed, "executor")
    values = dict.fromkeys(said, success(execution_id))
    # Each a record of its own, by which its dead letter is known.
    values = {form: value[:-1] + b',"form":"%b"}' % form.encode() for form, value in values.items()}
    sent = forged(signed, "executor", REPORTS, values)
    for value, token in sent.values():
        signed.write(REPORTS, route, value, token)
    refused = signed.refusals(execution_id, len(said))
    assert {data["action"] for data in refused} == {"report"}
    assert unlike(said, [data["message"] for data in refused]) == {}
    letters = signed.dead(REPORTS, {value for value, _ in sent.values()})
    assert set(letters.values()) == {"not_authentic"} and len(letters) == len(said)
    assert not signed.of(execution_id, "step.succeeded")
    # An executor that was cut off for a day still says how its attempt ended.
    one = signed.genuine("executor", REPORTS, success(execution_id))
    signed.write(REPORTS, route, one.value, one.token(now=one.now - 25 * 3_600))
    signed.until(execution_id, "execution.completed")


def test_what_is_not_signed_is_refused_or_from_nobody(signed: SignedLab) -> None:
    execution_id = signed.running()
    route = ids.route_of(execution_id).encode()
    signed.write(CONTROL, route, signed.control("cancel", execution_id), None)
    told = signed.decisions(execution_id, "cancel")
    assert (told["allowed"], told["actor"], told["claimed_actor"]) == (False, "anonymous", "ops")
    assert told["rule"] == ("signature" if signed.required else "default-deny")
    signed.still_runs(execution_id)

    key, value = signed.request(SLEEP)
    signed.write(REQUESTS, b"", value, None)
    if signed.required:
        rejected, audit = signed.rejection(key)
        assert (rejected["reason"], audit["rule"]) == ("not_authentic", "signature")
        assert "not signed" in audit["message"]
        return
    own = signed.accepted(key)
    data = signed.of(own, "execution.accepted")[0]["data"]
    assert (data["actor"], data["claimed_actor"], data.get("key")) == ("anonymous", "ops", None)
    signed.until(own, "step.started")
    # What nobody has proven to have asked for, nobody needs to prove to cancel.
    signed.write(CONTROL, ids.route_of(own).encode(), signed.control("cancel", own), None)
    assert signed.decisions(own, "cancel")["rule"] == "anonymous-dev-controls"
    signed.until(own, "execution.cancelled")


def test_an_unsigned_approval_is_none(signed: SignedLab) -> None:
    execution_id = signed.submit(QUICK, approval_level=1)
    plan_hash = signed.until(execution_id, "execution.approval_requested")["data"]["plan_hash"]
    value = signed.control("approve", execution_id, actor="ann", plan_hash=plan_hash)
    signed.write(CONTROL, ids.route_of(execution_id).encode(), value, None)
    told = signed.decisions(execution_id, "approve")
    assert (told["allowed"], told["actor"], told["claimed_actor"]) == (False, "anonymous", "ann")
    assert not signed.of(execution_id, "execution.approved")


def test_a_secret_that_the_executor_refuses_is_a_decision_of_the_log(signed: SignedLab) -> None:
    parameters = {"value": {"type": "secret", "path": "env/ROOT"}}
    execution_id = signed.submit({"id": "one", "tool": "noop", "parameters": parameters})
    signed.until(execution_id, "execution.failed")
    told = signed.decisions(execution_id, "secret")
    assert (told["allowed"], told["rule"], told["actor"]) == (False, "no-root", "ops")
    assert told["resource"] == "secret/env/ROOT"
    assert not signed.effects(execution_id)


def test_a_command_of_the_router_s_own_key_needs_the_approval(signed: SignedLab) -> None:
    """In an executor of prod; the last test here, since it ends the one of dev."""
    if not signed.required:
        pytest.skip("commands are checked alike, whether requests must be signed or not")
    lab = signed.lab
    lab.processes["executor"].terminate()
    lab.processes["executor"].wait(30)
    lab.start("prod", EXECUTOR, environment="prod")
    change = {"id": "one", "tool": "change"}
    execution_id = signed.submit(change, environment="prod")
    plan_hash = signed.until(execution_id, "execution.approval_requested")["data"]["plan_hash"]
    now = datetime.now(UTC)
    unapproved = {
        "execution_id": execution_id, "step": "one", "attempt": 1, "tool": "change",
        "domain": "test", "parameters": {}, "tenant": "default", "actor": "ops",
        "environment": "prod", "timeout_seconds": 5.0, "lease_seconds": 15.0,
        "dispatched_at": now.isoformat(), "expires_at": (now + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    forgeries = [unapproved]
    for by, definition in ((["ann"], "0" * 32), (["ops"], None), ([], None)):
        approval = {"level": 1, "by": by, "definition": definition}
        forgeries.append({**unapproved, "plan_hash": plan_hash, "approval": approval})
    topic = STEPS["test", "immediate"]
    for number, forgery in enumerate(forgeries):
        value = orjson.dumps({**forgery, "step": f"forged-{number}"})
        token = signed.genuine("router", topic, value).token()
        signed.write(topic, execution_id.encode(), value, token)

    def refused() -> list[str]:
        return [line["reason"] for line in lab.events("prod", "refused")]

    lab.until(lambda: len(refused()) >= len(forgeries), "refused commands")
    assert set(refused()) == {"not_approved"}
    assert not signed.effects(execution_id)
    # The same call, approved.
    signed.do("approve", execution_id, "approver", actor="ann", plan_hash=plan_hash)
    signed.until(execution_id, "execution.completed")
    assert signed.effects(execution_id) == ["one"]
    _, record, _ = signed.command(execution_id)
    command = orjson.loads(record.value() or b"")
    assert (command["plan_hash"], command["approval"]["by"]) == (plan_hash, ["ann"])
