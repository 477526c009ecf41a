"""Copies of signed records on a real broker: none has an effect, where none should.

And what must not be taken for one: a record that is forwarded, or redriven.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from authority.key_files import changing_trusted
from authority.keys import KeyUse
from console.cli import main
from streams import ids
from streams.envelope import FORWARDED, HOPS, SIGNATURE
from streams.topics import CONTROL, DEAD_LETTERS, REPORTS, REQUESTS, Topic
from tests.brokers import environment
from tests.forging import Genuine
from tests.integration.router_lab import EXECUTOR, router_lab
from tests.integration.signed_lab import QUICK, SLEEP, SignedLab, signed_lab, success

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def signed(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedLab]:
    """With RUNSTREAM_REQUIRE_SIGNATURES off, as it is by default."""
    with signed_lab(kafka, Path(tmp_path_factory.mktemp("replays")), required=False) as lab:
        yield lab


def test_a_copy_of_a_command_is_not_run_again(signed: SignedLab) -> None:
    execution_id = signed.running()
    topic, copy, token = signed.command(execution_id)
    key, value, here = copy.key() or b"", copy.value() or b"", copy.partition() or 0
    # After its claim: where it belongs, and elsewhere, where nobody remembers the claim.
    signed.write(topic, key, value, token, here)
    assert "claimed here before: a copy" in signed.refusals(execution_id)[0]["message"]
    signed.write(topic, key, value, token, (here + 1) % topic.partitions)
    assert "in the partition" in signed.refusals(execution_id, 2)[1]["message"]
    # After its expiry: it was signed an hour ago, when it was valid for less.
    body = orjson.loads(value)
    past = {"dispatched_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T00:30:00Z"}
    old = orjson.dumps({**body, **past, "step": "expired"})
    made = signed.genuine("router", topic, old)
    signed.write(topic, key, old, made.token(now=made.now - 3_600), here)
    assert "after it was signed: a copy" in signed.refusals(execution_id, 3)[2]["message"]
    assert signed.dead(topic, {old}) == {old: "not_authentic"}
    assert signed.effects(execution_id) == ["one"]
    signed.still_runs(execution_id)


def test_replayed_reports_change_nothing(signed: SignedLab) -> None:
    execution_id = signed.submit(QUICK)
    signed.until(execution_id, "execution.completed")
    route = ids.route_of(execution_id).encode()
    copies = signed.read(REPORTS, lambda one: execution_id.encode() in (one.value() or b""), 2)
    before = [event["type"] for event in signed.lab.log.events[execution_id]]
    for copy in copies:
        given: Any = list(copy.headers() or [])
        here = copy.partition() or 0
        for partition in (here, here, (here + 1) % REPORTS.partitions):
            signed.write(REPORTS, route, copy.value() or b"", None, partition, given)
    # What follows them in the partition is decided after them.
    signed.write(REPORTS, route, success(execution_id), None)
    signed.refusals(execution_id)
    after = [event["type"] for event in signed.lab.log.events[execution_id]]
    assert after == [*before, "audit.decision"]
    assert signed.effects(execution_id) == ["one"]


def test_a_replayed_request_runs_nothing_again(signed: SignedLab) -> None:
    key, value = signed.request({"id": "one", "tool": "fail"})
    token = signed.genuine("operator", REQUESTS, value).token()
    signed.write(REQUESTS, b"", value, token)
    (execution_id,) = signed.lab.wait_ended({key}).values()
    assert signed.lab.log.ends(execution_id) == ["execution.failed"]
    before = signed.effects(execution_id)
    signed.write(REQUESTS, b"other", value, token)
    rejected, audit = signed.rejection(key)
    assert rejected["reason"] == "not_authentic" and audit["rule"] == "signature"
    assert execution_id in audit["message"]
    assert signed.effects(execution_id) == before
    # Signed again, it is another request.
    signed.write(REQUESTS, b"", value, signed.genuine("operator", REQUESTS, value).token())
    signed.lab.until(lambda: len(signed.all_accepted(key)) == 2, "accepted again")


def test_an_unsigned_request_does_not_take_the_key_of_a_signed_one(signed: SignedLab) -> None:
    # Else it would be the latest of its key, and a copy of the signed one would run again.
    key, value = signed.request({"id": "one", "tool": "fail"})
    signed.write(REQUESTS, b"", value, signed.genuine("operator", REQUESTS, value).token())
    signed.until(signed.accepted(key), "execution.failed")
    signed.write(REQUESTS, b"", value, None)
    rejected, audit = signed.rejection(key)
    assert (rejected["reason"], audit["rule"]) == ("not_authentic", "signature")
    assert "used by a signed request" in audit["message"]
    assert len(signed.all_accepted(key)) == 1


def test_a_copy_of_a_request_that_runs_is_a_duplicate(signed: SignedLab) -> None:
    key, value = signed.request(SLEEP)
    token = signed.genuine("operator", REQUESTS, value).token()
    signed.write(REQUESTS, b"", value, token)
    execution_id = signed.accepted(key)
    signed.until(execution_id, "step.started")
    signed.write(REQUESTS, b"", value, token)
    signed.until(execution_id, "execution.duplicate")
    assert signed.all_accepted(key) == [execution_id]
    signed.still_runs(execution_id)
    assert signed.effects(execution_id) == ["one"]


def test_a_replayed_control_message_does_nothing(signed: SignedLab) -> None:
    execution_id = signed.running()
    route = ids.route_of(execution_id).encode()
    value, token = signed.do("pause", execution_id)
    signed.until(execution_id, "execution.paused")
    signed.do("resume", execution_id)
    signed.until(execution_id, "execution.resumed")
    signed.write(CONTROL, route, value, token)
    assert "followed already" in signed.refusals(execution_id)[0]["message"]
    # Nor does it work on another execution, even where that one's key is used.
    other = signed.running()
    signed.write(CONTROL, ids.route_of(other).encode(), value, token)
    signed.still_runs(other)
    assert len(signed.of(execution_id, "execution.paused")) == 1
    # A copy of the cancel, after the end.
    value, token = signed.do("cancel", execution_id)
    signed.until(execution_id, "execution.cancelled")
    signed.write(CONTROL, route, value, token)
    assert "followed already" in signed.refusals(execution_id, 2)[1]["message"]
    assert len(signed.of(execution_id, "execution.cancel_requested")) == 1


def test_keys_count_side_by_side_until_the_old_ones_are_revoked(signed: SignedLab) -> None:
    old = [signed.keys["router"], signed.keys["executor"]]
    new = [signed.trust(KeyUse(role="router")), signed.trust(old[1].use)]
    eve = signed.trust(KeyUse(role="actor", actor="eve"))
    # A command of the old key waits while the router gets a new one.
    signed.stop("executor")
    waiting = signed.submit(QUICK, timeout_seconds=300)
    signed.until(waiting, "step.dispatched")
    signed.stop("router")
    signed.start_with("router", new[0])
    signed.start_with("executor", new[1])
    signed.until(waiting, "execution.completed")
    assert signed.effects(waiting) == ["one"]

    # The new router's command; a report that the old key signed counts as well.
    first, second = signed.running(), signed.running()
    topic, command, token = signed.command(first)
    assert kid_of(token) == new[0].kid
    value, route = success(first), ids.route_of(first).encode()
    made = Genuine(old[1], signed.cluster, REPORTS.name, value, time.time())
    signed.write(REPORTS, route, value, made.token())
    signed.until(first, "execution.completed")
    route = ids.route_of(second).encode()

    def send(kind: str) -> None:
        told = signed.control(kind, second, actor="eve")
        token = Genuine(eve, signed.cluster, CONTROL.name, told, time.time()).token()
        signed.write(CONTROL, route, told, token)

    send("pause")
    signed.until(second, "execution.paused")
    with changing_trusted(signed.lab.keys.folder.trusted) as trusted:
        for key in (*old, eve):
            del trusted[key.kid]
    time.sleep(2.5)  # As long as a process may take to notice.
    send("resume")
    assert "not trusted" in signed.refusals(second)[0]["message"]
    value = success(second)
    made = Genuine(old[1], signed.cluster, REPORTS.name, value, time.time())
    signed.write(REPORTS, route, value, made.token())
    told = signed.refusals(second, 2)[1]
    assert (told["action"], "not trusted" in told["message"]) == ("report", True)
    body = {**orjson.loads(command.value() or b""), "execution_id": second, "step": "stale"}
    value = orjson.dumps({**body, "tool": "noop", "parameters": {}})
    made = Genuine(old[0], signed.cluster, topic.name, value, time.time())
    signed.write(topic, second.encode(), value, made.token())
    told = signed.refusals(second, 3)[2]
    assert (told["action"], "not trusted" in told["message"]) == ("command", True)
    assert signed.effects(second) == ["one"]
    signed.still_runs(second)


def kid_of(token: str) -> str:
    """The key that a token names."""
    header = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


def test_a_process_without_its_keys_does_not_start(
    signed: SignedLab, kafka: str, tmp_path: Path
) -> None:
    with router_lab(kafka, signed.lab.prefix, tmp_path) as lab:
        lab.start("router", signing_key="", trusted_keys="")
        lab.start("executor", EXECUTOR, signing_key=str(lab.keys.folder.private("router")))
        for name, said in (("router", "RUNSTREAM_SIGNING_KEY is not set"), ("executor", "role")):
            assert lab.processes[name].wait(60) == 2
            assert said in (tmp_path / f"{name}.log").read_text()


def test_signed_records_are_forwarded_with_their_signatures(signed: SignedLab) -> None:
    sent: dict[str, int] = {}
    for partition in range(REQUESTS.partitions):
        key, value = signed.request(QUICK)
        token = signed.genuine("operator", REQUESTS, value).token()
        signed.write(REQUESTS, b"elsewhere", value, token, partition)
        sent[key] = partition
    done = signed.lab.wait_ended(set(sent))
    for key, execution_id in done.items():
        data = signed.of(execution_id, "execution.accepted")[0]["data"]
        assert (data["actor"], data["key"]) == ("ops", signed.keys["operator"].kid)
        assert signed.effects(execution_id) == ["one"], key
    homes = {key: ids.partition_for(ids.route_of(one).encode(), 8) for key, one in done.items()}
    away = sum(homes[key] != partition for key, partition in sent.items())
    forwarded = signed.read(
        REQUESTS,
        lambda one: (
            FORWARDED in dict(one.headers() or [])
            and orjson.loads(one.value() or b"")["idempotency_key"] in sent
        ),
        away,
    )
    assert all(SIGNATURE in dict(one.headers() or []) for one in forwarded)

    # A control message, with its key, from a client with another partitioner.
    execution_id = signed.running()
    route = ids.route_of(execution_id).encode()
    value = signed.control("cancel", execution_id)
    token = signed.genuine("operator", CONTROL, value).token()
    elsewhere = (ids.partition_for(route, CONTROL.partitions) + 1) % CONTROL.partitions
    signed.write(CONTROL, route, value, token, elsewhere)
    signed.until(execution_id, "execution.cancelled")
    assert signed.decisions(execution_id, "cancel")["key"] == signed.keys["operator"].kid


def test_signed_records_count_after_they_are_redriven(
    signed: SignedLab, kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, setting in environment(kafka).items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setenv("RUNSTREAM_TOPIC_PREFIX", signed.lab.prefix)
    # A control message that came before the execution that it is about.
    key, value = signed.request(SLEEP)
    route = ids.route_key("default", key)
    execution_id = ids.mint_execution_id(route, int(time.time() * 1_000), uuid.uuid4().int >> 90)
    value = orjson.dumps({**orjson.loads(value), "execution_id": execution_id})
    early, _ = signed.do("cancel", execution_id)
    assert signed.dead(CONTROL, {early}) == {early: "unknown_execution"}
    # And the request itself, as a router that could not decide about it would have parked it.
    place = ids.partition_for(route.encode(), REQUESTS.partitions)
    given = [("runstream-error-class", b"decision_failed")]
    given.append(("runstream-error-partition", b"%d" % place))
    token = signed.genuine("operator", REQUESTS, value).token()
    signed.write(DEAD_LETTERS[REQUESTS.name], route.encode(), value, token, place, given)
    _redrive(signed, REQUESTS, value)
    signed.until(execution_id, "step.started")
    data = signed.of(execution_id, "execution.accepted")[0]["data"]
    assert (data["actor"], data["key"]) == ("ops", signed.keys["operator"].kid)
    _redrive(signed, CONTROL, early)
    signed.until(execution_id, "execution.cancelled")
    told = signed.decisions(execution_id, "cancel")
    assert (told["allowed"], told["key"]) == (True, signed.keys["operator"].kid)
    # Once more: its signature has been used.
    _redrive(signed, CONTROL, early)
    assert "followed already" in signed.refusals(execution_id)[0]["message"]
    assert signed.effects(execution_id) == ["one"]


def _redrive(signed: SignedLab, topic: Topic, value: bytes) -> None:
    """Redrive the dead letter of this value."""
    (letter,) = signed.read(DEAD_LETTERS[topic.name], lambda one: one.value() == value)
    place = [str(letter.partition()), str(letter.offset())]
    assert main(["dlq", "redrive", topic.dlq, *place, "--json"]) == 0
    sent = signed.read(
        topic, lambda one: one.value() == value and HOPS in dict(one.headers() or [])
    )
    assert all(SIGNATURE in dict(one.headers() or []) for one in sent)
