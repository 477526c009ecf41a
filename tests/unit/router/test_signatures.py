"""What the router makes of records that are signed, not signed, or signed wrongly."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from authority.identity import Forged, Signer
from processors.router.partition import MAX_FORGED
from streams import report_lines, topics
from streams.ids import default_idempotency_key, mint_execution_id, route_key, route_of
from streams.topics import Topic
from tests.unit.router.simulation import EverybodySigns, Simulation, kinds

STEPS = {"steps": [{"tool": "noop"}]}
APPROVED = {"steps": [{"tool": "argv", "parameters": {"argv": ["true"]}}]}
REQUEST = {"idempotency_key": "k", "tenant": "acme", "actor": "alice", "plan": STEPS}


class Chosen:
    """Every record is signed as the test says."""

    def __init__(self) -> None:
        self.as_signed: Signer | Forged | None = None
        self.report: str | None = None
        self.report_at = 0
        self.domains: list[str | None] = []

    def signer(self, message: Any, topic: Topic, now: float) -> Signer | Forged | None:
        return self.as_signed

    def of_key(self, kid: str, signed_at: int, now: float) -> Signer | Forged:
        return Forged("no key is known")

    def report_time(self, message: Any, domain: str | None, now: float) -> int | Forged:
        self.domains.append(domain)
        if self.report is not None:
            return Forged(self.report)
        return self.report_at or round(now * 1_000_000)


def alice(at: int = 1) -> Signer:
    return Signer("key-a", "acme", "alice", at)


@pytest.fixture
def chosen() -> Chosen:
    return Chosen()


@pytest.fixture
def router(chosen: Chosen) -> Simulation:
    return Simulation(authentication=chosen)


def test_an_unsigned_request_is_from_nobody_whatever_actor_it_names(router: Simulation) -> None:
    (accepted, *_) = router.submit(REQUEST)
    data = accepted["data"]
    assert (data["actor"], data["claimed_actor"], data.get("key")) == ("anonymous", "alice", None)
    assert router.take()["actor"] == "anonymous"


def test_a_signed_request_is_from_the_actor_of_its_key(router: Simulation, chosen: Chosen) -> None:
    chosen.as_signed = alice(7)
    (accepted, *_) = router.submit(REQUEST)
    data = accepted["data"]
    assert (data["actor"], data["key"], data["signed_at"]) == ("alice", "key-a", 7)
    assert data.get("claimed_actor") is None


@pytest.mark.parametrize(
    "signed",
    [
        Forged("the signature is for another value"),
        Signer("key-b", "acme", "bob", 1),
        Signer("key-a", "other", "alice", 1),
    ],
    ids=["forged", "another actor", "another tenant"],
)
def test_a_request_that_is_signed_wrongly_is_rejected(
    router: Simulation, chosen: Chosen, signed: Signer | Forged
) -> None:
    chosen.as_signed = signed
    event, audit = router.submit(REQUEST)
    assert event["type"] == "execution.rejected"
    assert event["data"]["reason"] == "not_authentic" and event["data"]["actor"] == "anonymous"
    assert audit["type"] == "audit.decision"
    assert audit["data"] == {
        "actor": "anonymous", "claimed_actor": "alice", "action": "run", "allowed": False,
        "rule": "signature", "message": event["data"]["message"], "key": None, "resource": None,
        "via": None,
    }  # fmt: skip
    assert not router.commands
    # Its sender watches the partition of its route.
    assert route_of(event["execution_id"]) == route_key("acme", "k")


def test_a_forged_request_takes_nobody_s_execution_id(router: Simulation, chosen: Chosen) -> None:
    wanted = mint_execution_id(route_key("acme", "k"), 1, 1)
    chosen.as_signed = Forged("forged")
    event, _ = router.submit({**REQUEST, "execution_id": wanted})
    assert event["execution_id"] != wanted
    chosen.as_signed = alice()
    (accepted, *_) = router.submit({**REQUEST, "execution_id": wanted})
    assert (accepted["type"], accepted["execution_id"]) == ("execution.accepted", wanted)


def test_a_forged_copy_of_a_known_request_says_nothing_about_it(
    router: Simulation, chosen: Chosen
) -> None:
    (accepted, *_) = router.submit(REQUEST)
    chosen.as_signed = Forged("forged")
    event, _ = router.submit(REQUEST)
    assert event["execution_id"] != accepted["execution_id"]


def test_signatures_can_be_required(chosen: Chosen) -> None:
    router = Simulation(authentication=chosen, require_signatures=True)
    for request in (REQUEST, {**REQUEST, "plan": {}}):
        event, audit = router.submit(request)
        assert event["data"]["reason"] == "not_authentic"
        assert (audit["data"]["rule"], audit["data"]["allowed"]) == ("signature", False)
    chosen.as_signed = alice()
    assert kinds(router.submit(REQUEST))[0] == "execution.accepted"


def test_a_replayed_request_starts_nothing_after_a_failure(
    router: Simulation, chosen: Chosen
) -> None:
    chosen.as_signed = alice(1)
    first = router.submit(REQUEST)[0]["execution_id"]
    assert kinds(router.submit(REQUEST)) == ["execution.duplicate"]
    router.fail(router.take())
    router.restart()
    event, _ = router.submit(REQUEST)
    assert event["data"]["reason"] == "not_authentic" and first in event["data"]["message"]
    assert not router.commands
    chosen.as_signed = alice(2)
    assert kinds(router.submit(REQUEST))[0] == "execution.accepted"


def test_a_control_message_is_from_the_actor_of_its_key(router: Simulation, chosen: Chosen) -> None:
    ident = router.submit(REQUEST)[0]["execution_id"]
    (paused,) = router.control("pause", ident, actor="alice")
    assert (paused["data"]["actor"], paused["data"]["claimed_actor"]) == ("anonymous", "alice")
    chosen.as_signed = alice()
    (resumed,) = router.control("resume", ident, actor="alice")
    assert resumed["data"]["actor"] == "alice"


@pytest.mark.parametrize("ended", [False, True])
def test_a_forged_control_message_is_audited_and_changes_nothing(
    router: Simulation, chosen: Chosen, ended: bool
) -> None:
    ident = router.submit(REQUEST)[0]["execution_id"]
    if ended:
        router.run(router.take())
    for signed in (Forged("forged"), Signer("b", "acme", "bob", 1), Signer("a", "x", "alice", 1)):
        chosen.as_signed = signed
        (event,) = router.control("cancel", ident, actor="alice")
        assert event["type"] == "audit.decision" and not event["data"]["allowed"]
        assert event["data"]["rule"] == "signature" and event["data"]["actor"] == "anonymous"
        assert event["data"]["claimed_actor"] == "alice"
    assert not router.stops


@pytest.mark.parametrize("ended", [False, True])
def test_forged_messages_fill_no_history(router: Simulation, chosen: Chosen, ended: bool) -> None:
    ident = router.submit(REQUEST)[0]["execution_id"]
    if ended:
        router.run(router.take())
    chosen.as_signed = Forged("forged")
    written = 0
    for number in range(MAX_FORGED + 10):
        written += len(router.control("cancel", ident, actor="alice"))
        if number % 7 == 0:
            router.restart()
    assert written == MAX_FORGED


@pytest.mark.parametrize("kind", ["pause", "resume"])
def test_a_replayed_control_message_does_nothing(
    router: Simulation, chosen: Chosen, kind: str
) -> None:
    ident = router.submit(REQUEST)[0]["execution_id"]
    for number, each in enumerate(("pause", "resume", "pause", "resume")):
        chosen.as_signed = alice(number + 10)
        assert kinds(router.control(each, ident, actor="alice")) == [f"execution.{each}d"]
    router.restart()
    for at in (10, 13):
        chosen.as_signed = alice(at)
        (event,) = router.control(kind, ident, actor="alice")
        assert event["data"]["rule"] == "signature"
    # Another key of the same actor counts for itself.
    chosen.as_signed = Signer("key-2", "acme", "alice", 5)
    assert kinds(router.control("pause", ident, actor="alice")) == ["execution.paused"]


def test_a_replayed_rerun_starts_nothing(router: Simulation, chosen: Chosen) -> None:
    chosen.as_signed = alice(1)
    ident = router.submit(REQUEST)[0]["execution_id"]
    router.fail(router.take())
    chosen.as_signed = alice(2)
    assert "execution.accepted" in kinds(router.control("rerun", ident, actor="alice"))
    router.restart()
    (event,) = router.control("rerun", ident, actor="alice")
    assert event["data"]["rule"] == "signature"


@pytest.mark.parametrize("kind", ["approve", "reject"])
def test_only_a_signed_approval_counts(router: Simulation, chosen: Chosen, kind: str) -> None:
    plan = {**APPROVED, "environment": "prod"}
    ident = _waiting(router, {**REQUEST, "plan": plan})
    (event,) = router.control(kind, ident, actor="bob")
    assert not event["data"]["allowed"] and "signed" in event["data"]["message"]
    chosen.as_signed = Signer("key-b", "acme", "bob", 1)
    assert kinds(router.control(kind, ident, actor="bob"))[0] in (
        "execution.approved", "execution.rejected",
    )  # fmt: skip


def test_the_actor_that_an_unsigned_request_named_does_not_approve_it(
    router: Simulation, chosen: Chosen
) -> None:
    ident = _waiting(router, {**REQUEST, "plan": {**APPROVED, "environment": "prod"}})
    chosen.as_signed = Signer("key-a", "acme", "Alice", 1)
    (event,) = router.control("approve", ident, actor="alice")
    assert not event["data"]["allowed"] and "asked for" in event["data"]["message"]


def _waiting(router: Simulation, request: dict[str, Any]) -> str:
    events = router.submit(request)
    assert "execution.approval_requested" in kinds(events), events
    return str(events[0]["execution_id"])


def test_a_forged_report_is_a_dead_letter_and_audited(router: Simulation, chosen: Chosen) -> None:
    router.submit(REQUEST)
    command = router.take()
    chosen.report = "it is not signed"
    (event,) = router.report("succeeded", command)
    assert event["type"] == "audit.decision" and event["data"]["action"] == "report"
    name, _, headers = router.dead[-1]
    assert name.startswith("steps.reports")
    assert headers["runstream-error-class"] == b"not_authentic"
    chosen.report = None
    assert kinds(router.run(command))[-1] == "execution.completed"
    assert set(chosen.domains) == {"test"}


def _several(commands: list[dict[str, Any]]) -> tuple[bytes, list[tuple[str, bytes]]]:
    bodies = [
        {"type": "started", **{name: one[name] for name in ("execution_id", "step", "attempt")}}
        for one in commands
    ]
    lines = [orjson.dumps({**body, "executor": "agent-1"}) for body in bodies]
    return b"\n".join(lines), [("ce_type", report_lines.TYPE.encode())]


def _started(router: Simulation, executions: int) -> list[dict[str, Any]]:
    taken = []
    for number in range(executions):
        router.submit({**REQUEST, "idempotency_key": f"k{number}"})
        taken.append(router.take())
    return taken


def test_several_forged_reports_are_one_dead_letter_and_an_audit_event_each(
    router: Simulation, chosen: Chosen
) -> None:
    value, headers = _several(_started(router, 3))
    chosen.report = "it is not signed"
    events = router.produce(topics.REPORTS, value, b"k", headers)
    assert kinds(events) == ["audit.decision"] * 3
    assert len({event["execution_id"] for event in events}) == 3
    ((name, dead, found),) = router.dead
    assert (name, dead) == ("steps.reports.dlq", value)
    assert found["ce_type"] == report_lines.TYPE.encode()
    # The same record once more, as it is after an abort: the new partition has written nothing.
    router.restart()
    router.produce(topics.REPORTS, value, b"k", headers)
    assert len(router.dead) == 2


def test_a_report_that_is_none_does_not_take_the_others_with_it(router: Simulation) -> None:
    commands = _started(router, 3)
    value, headers = _several(commands)
    first, _, third = value.split(b"\n")
    events = router.produce(
        topics.REPORTS, b"\n".join([first, b'{"type":"nonsense"}', b"", third]), b"k", headers
    )
    assert kinds(events) == ["execution.started", "step.started"] * 2
    (letter,) = router.dead
    assert letter[2]["runstream-error-class"] == b"invalid"
    assert letter[2]["runstream-error-message"].startswith(b"line 2: ")
    # Sent again once it is mended, it repeats nothing of what was decided.
    events = router.produce(topics.REPORTS, value, b"k", headers)
    assert kinds(events) == ["execution.started", "step.started"]
    assert {event["execution_id"] for event in events} == {commands[1]["execution_id"]}


@pytest.mark.parametrize(
    ("fields", "action"), [({}, "command"), ({"record": "cancel"}, "cancel_step")]
)
def test_a_forged_command_is_audited_and_the_attempt_goes_on(
    router: Simulation, fields: dict[str, str], action: str
) -> None:
    router.submit(REQUEST)
    command = router.take()
    router.report("started", command)
    (event,) = router.report("rejected_command", command, message="it is not signed", **fields)
    assert (event["type"], event["data"]["action"]) == ("audit.decision", action)
    assert (event["data"]["rule"], event["data"]["allowed"]) == ("signature", False)
    assert kinds(router.report("succeeded", command))[-1] == "execution.completed"


def test_a_second_claim_of_an_attempt_is_told_to_stop(router: Simulation) -> None:
    router.submit(REQUEST)
    command = router.take()
    router.report("started", command)
    assert router.report("started", command) == [] and not router.stops
    assert router.report("started", command, executor="agent-2") == []
    (stop,) = router.stops
    assert (stop["executor"], stop["reason"]) == ("agent-2", "superseded")
    # Nor does a copy of the command that another instance refuses end what runs.
    refused = {"reason": "expired", "message": "late", "executor": "agent-2"}
    assert router.report("refused", command, **refused) == []
    assert kinds(router.report("succeeded", command))[-1] == "execution.completed"


def test_a_copied_heartbeat_does_not_keep_a_dead_attempt_alive(
    router: Simulation, chosen: Chosen
) -> None:
    router.submit({**REQUEST, "plan": {**STEPS, "timeout_seconds": 1_000}})
    command = router.take()
    router.report("started", command)
    for at in (10, 20):
        chosen.report_at = at
        router.report("heartbeat", command)
    # Its executor dies; somebody sends copies, and heartbeats in the name of another executor.
    lost: list[str] = []
    for second in range(20):
        chosen.report_at = 10 if second % 2 else 20
        router.report("heartbeat", command)
        chosen.report_at = 30 + second
        router.report("heartbeat", command, executor="agent-2")
        lost += kinds(router.wait(1))
    assert "step.lost" in lost


def test_a_copied_wait_does_not_move_the_time_limit(router: Simulation, chosen: Chosen) -> None:
    router.submit(REQUEST)
    command = router.take()
    router.report("started", command)
    held = {"reason": "rate_limit", "message": "2 a second"}
    chosen.report_at = 10
    assert kinds(router.report("waiting", command, **held)) == ["step.waiting"]
    # A heartbeat may be signed after the next change and come before it.
    chosen.report_at = 30
    router.report("heartbeat", command)
    chosen.report_at = 20
    assert kinds(router.report("resumed", command)) == ["step.resumed"]
    for at, kind in ((10, "waiting"), (20, "resumed"), (10, "waiting")):
        chosen.report_at = at
        assert router.report(kind, command, **(held if kind == "waiting" else {})) == []


def test_the_default_key_is_that_of_the_actor_who_is_named(
    router: Simulation, chosen: Chosen
) -> None:
    # A client works out the route of its request before anybody signs or checks it.
    request = {"tenant": "acme", "actor": "alice", "plan": STEPS}
    (accepted, *_) = router.submit(request)
    key = default_idempotency_key(orjson.loads(orjson.dumps(STEPS)), "acme", "alice")
    assert accepted["data"]["idempotency_key"] == key


def test_everybody_signs_in_the_other_tests_of_the_router() -> None:
    router = Simulation()
    assert isinstance(router.authentication, EverybodySigns)
    (accepted, *_) = router.submit(REQUEST)
    assert accepted["data"]["actor"] == "alice"
    assert kinds(router.produce(topics.CONTROL, b"{}", b"x")) == []
