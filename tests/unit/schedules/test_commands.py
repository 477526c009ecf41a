"""Whose commands count, what is refused, and what is kept of what was removed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from authority.policy_file import parse
from processors.schedules.partition import ScheduleStateError
from processors.schedules.state import decode, record_key
from streams.envelope import SIGNATURE
from streams.limits import MAX_CONTROL_BYTES
from tests.unit.authority.keyring import ROUTER, STRANGER
from tests.unit.schedules.lab import ANN, OPS, OTHER, Lab, unix
from toolmeta import registry

HOURLY: dict[str, Any] = {"cron": "0 * * * *"}


def test_the_same_file_again_changes_nothing(lab: Lab) -> None:
    lab.apply(**HOURLY)
    lab.pass_to("2026-10-24T01:30")
    before = lab.state()
    decided, running = before.decided, list(before.running)
    lab.apply(**HOURLY)
    assert (lab.state().decided, lab.state().running) == (decided, running)
    assert len(lab.requests) == 1


def test_one_name_in_two_tenants(lab: Lab) -> None:
    lab.policy = parse(
        "version: 1\nrules:\n"
        '  - {id: all, effect: allow, tenants: ["*"], actors: ["*"], controls: [apply]}\n',
        registry.load(),
    )
    lab.apply(**HOURLY)
    assert lab.offer("nightly", OTHER, tenant="acme", cron="30 * * * *") is None
    lab.pass_to("2026-10-24T01:45")
    assert [(one["tenant"], one["started_by"]["cause"][11:16]) for one in lab.requests] == [
        ("acme", "00:30"), ("default", "01:00"),
    ]  # fmt: skip
    assert lab.send("remove", key=OTHER, tenant="acme") is None
    assert lab.state().schedule is not None and lab.state(tenant="acme").schedule is None


@pytest.mark.parametrize(
    ("key", "tenant", "error_class", "text"),
    [
        (None, "default", "forbidden", "no rule allows anonymous to apply"),
        (OTHER, "acme", "forbidden", "no rule allows ops of tenant acme to apply"),
        (OTHER, "default", "not_authentic", "is of the tenant acme, and it names default"),
        (STRANGER, "default", "not_authentic", "is not trusted"),
        (ROUTER, "default", "not_authentic", "is that of a router, and signs nothing here"),
    ],
)
def test_who_may_not(lab: Lab, key: Any, tenant: str, error_class: str, text: str) -> None:
    actor = "anonymous" if key is None else key.use.actor or "ops"
    schedule = {"name": "nightly", "procedure": "work", **HOURLY}
    fields = {"type": "apply", "tenant": tenant, "name": "nightly", "actor": actor,
              "schedule": schedule}  # fmt: skip
    fault = lab.send("apply", key=key, tenant=tenant, raw=orjson.dumps(fields))
    assert fault is not None and fault.error_class == error_class
    assert text in fault.message and "\n" not in fault.message
    assert lab.partition.schedules == {} and lab.changelog == {}


def test_a_forged_command_and_one_that_is_replayed(lab: Lab) -> None:
    lab.apply(**HOURLY)
    # Signed for another value.
    from authority.tokens import sign

    value = orjson.dumps({"type": "remove", "name": "nightly", "actor": "ops"})
    token = sign(OPS, "schedules.commands", "cluster-1", value, lab.now)
    other = value.replace(b"remove", b"resume")
    fault = lab.deliver(other, "default/nightly", [(SIGNATURE, token)])
    assert fault is not None and fault.error_class == "not_authentic"
    # A pause that is sent again after the resume that came later.
    value = orjson.dumps({"type": "pause", "name": "nightly", "actor": "ops"})
    lab.now += 1
    token = sign(OPS, "schedules.commands", "cluster-1", value, lab.now)
    assert lab.deliver(value, "default/nightly", [(SIGNATURE, token)]) is None
    lab.now += 1
    assert lab.send("resume") is None
    lab.restart()
    fault = lab.deliver(value, "default/nightly", [(SIGNATURE, token)])
    assert fault is not None and "followed already" in fault.message
    assert not lab.state().paused
    # Another's key counts for itself.
    assert lab.send("pause", key=ANN) is None


def test_what_was_removed_is_not_brought_back_by_a_copy(lab: Lab) -> None:
    assert lab.send("apply", schedule={"name": "nightly", "procedure": "work", **HOURLY}) is None
    early = lab.now
    assert lab.send("remove") is None
    lab.restart()
    fault = lab.send("apply", schedule={"name": "nightly", "procedure": "work", **HOURLY},
                     signed_at=early)  # fmt: skip
    assert fault is not None and fault.error_class == "not_authentic"
    assert lab.pass_to("2026-10-24T06:00") == []
    # Forgotten when no copy can count any more.
    lab.pass_to("2026-10-26T06:00")
    assert lab.changelog == {} and lab.partition.schedules == {}


def test_a_removed_schedule_knows_what_still_runs(lab: Lab) -> None:
    lab.apply(**HOURLY)
    lab.pass_to("2026-10-24T01:30")
    assert lab.send("remove") is None
    lab.apply(**HOURLY)
    assert lab.pass_to("2026-10-24T02:30") == []
    lab.end(lab.requests[0])
    assert lab.pass_to("2026-10-24T03:30") == ["2026-10-24T03:00:00Z"]


@pytest.mark.parametrize("kind", ["remove", "pause", "resume", "run"])
def test_a_schedule_that_is_not_there(lab: Lab, kind: str) -> None:
    fault = lab.send(kind, "nightl")
    assert fault is not None and fault.error_class == "unknown_schedule"
    assert "'nightl'" in fault.message and "schedules list" in fault.message


@pytest.mark.parametrize(
    ("raw", "error_class", "text"),
    [
        (b"", "empty", "no value"),
        (b"{", "invalid", "JSON"),
        (b'{"type":"sing","name":"nightly"}', "invalid", "does not match any of the expected tags"),
        (b'{"type":"pause"}', "invalid", "name: Field required"),
        (b'{"type":"pause","name":"../x"}', "invalid", "name: String should match pattern"),
        (b'{"type":"pause","name":"n\\nx"}', "invalid", "name: String should match pattern"),
        (b'{"type":"apply","name":"nightly","schedule":{"name":"nightly","procedure":"p"}}',
         "invalid", "give exactly one of cron, every_seconds and at"),
        (b'{"type":"apply","name":"nightly","schedule":{"name":"other","procedure":"p",'
         b'"cron":"* * * * *"}}', "invalid", "it is not the name of the schedule"),
        (b'{"type":"apply","name":"nightly","schedule":{"name":"nightly","procedure":"p",'
         b'"crom":"* * * * *"}}', "invalid", "crom: Extra inputs are not permitted"),
        (b'{"type":"pause","name":"nightly","reason":"' + b"x" * MAX_CONTROL_BYTES + b'"}',
         "too_large", "are allowed"),
    ],
)  # fmt: skip
def test_what_is_no_command(lab: Lab, raw: bytes, error_class: str, text: str) -> None:
    fault = lab.send("pause", raw=raw)
    assert fault is not None and fault.error_class == error_class, fault
    assert text in fault.message and len(fault.message) < 600


def test_what_cannot_be_is_refused(lab: Lab) -> None:
    for cron, timezone, text in (
        ("30 2 30 2 *", "UTC", "schedule.cron: its day of the month"),
        ("0 2 * * *", "Mars/Base", "schedule.timezone: there is no time"),
    ):
        fault = lab.offer(cron=cron, timezone=timezone)
        assert fault.error_class == "invalid" and text in fault.message
    lab.apply(**HOURLY)
    for begin, end, text in (
        ("2026-10-24T00:00Z", "2026-10-25T00:00Z", "end: it lies in the future"),
        ("2026-01-01T00:00Z", "2026-10-01T00:00Z", "begin: the range has more than 1000 moments"),
        ("2026-10-01T00:01Z", "2026-10-01T00:02Z", "has no moment in this range"),
        ("0001-01-01T00:00Z", "2026-10-01T00:02Z", "begin: its year must be"),
    ):
        fault = lab.send("backfill", begin=begin, end=end)
        assert fault is not None and text in fault.message, fault
    fault = lab.send("backfill", begin="2026-10-02T00:00Z", end="2026-10-01T00:00Z")
    assert fault is not None and "it is before begin" in fault.message


def test_only_a_router_says_that_an_execution_ended(lab: Lab) -> None:
    lab.apply(**HOURLY)
    lab.pass_to("2026-10-24T01:30")
    (request,) = lab.requests
    for key in (None, OPS, STRANGER):
        fault = lab.send("ended", key=key, execution_id=request["execution_id"],
                         cause=request["started_by"]["cause"], status="completed")  # fmt: skip
        assert fault is not None and fault.error_class == "not_authentic"
    assert len(lab.state().running) == 1
    lab.end(request)
    lab.end(request)  # Told twice.
    assert lab.state().running == [] and len(lab.state().history) == 1


def test_a_record_of_another_partitioner(lab: Lab) -> None:
    fault = lab.send("pause", record_key="default/other")
    assert fault is not None and fault.error_class == "no_route_key"
    lab.partition.count, lab.partition.number = 8, 7
    assert lab.offer(**HOURLY) is None
    (sent,) = lab.sent
    assert sent[0] == "schedules.commands" and sent[1]["type"] == "apply"
    assert lab.partition.schedules == {}


def test_rights_are_those_of_whoever_applied_it_last(lab: Lab) -> None:
    lab.apply(**HOURLY)
    lab.pass_to("2026-10-24T01:30")
    assert lab.offer("nightly", ANN, **HOURLY) is None
    lab.end(lab.requests[0])
    lab.pass_to("2026-10-24T02:30")
    first, second = lab.requests
    assert (first["actor"], first["started_by"]["key"]) == ("ops", OPS.kid)
    assert (second["actor"], second["started_by"]["key"]) == ("ann", ANN.kid)


def test_cancel_takes_the_place_of_what_runs(lab: Lab) -> None:
    lab.apply(cron="* * * * *", overlap="cancel")
    lab.pass_to("2026-10-24T00:03:30")
    (request,) = lab.requests
    # One cancel, on behalf of whoever applied it, however many moments come meanwhile.
    assert lab.sent == [
        (
            "execution.control",
            {
                "type": "cancel",
                "execution_id": request["execution_id"],
                "actor": "ops",
                "reason": "a later moment of its schedule takes its place",
                "schedule": {"kind": "schedule", "name": "nightly",
                             "cause": "2026-10-24T00:01:00Z", "key": OPS.kid},
            },
        )
    ]  # fmt: skip
    lab.end(request, "cancelled")
    assert lab.causes() == ["2026-10-24T00:01:00Z", "2026-10-24T00:03:00Z"]


def test_a_changelog_of_another_version_stops_the_router(lab: Lab) -> None:
    lab.apply(**HOURLY)
    (value,) = lab.changelog.values()
    document = orjson.loads(value)
    others: list[Any] = [{**document, "version": 2}, {"x": 1}, []]
    for other in others:
        lab.changelog[record_key("default/nightly")] = orjson.dumps(other)
        with pytest.raises(ScheduleStateError, match=r"schedules\.state, partition 0"):
            lab.restart(committed=False)


def test_a_zone_that_is_gone_stops_only_its_schedule(lab: Lab) -> None:
    """The rules of time zones are the machine's: another one may not have this one."""
    lab.apply(**HOURLY)
    lab.apply("gone", **HOURLY, timezone="Europe/Berlin")
    key = record_key("default/gone")
    lab.changelog[key] = lab.changelog[key].replace(b"Europe/Berlin", b"Europe/Bonn")
    lab.restart(committed=False)
    assert [one["started_by"]["name"] for one in _passed(lab, "2026-10-24T01:30")] == ["nightly"]
    known = lab.partition.schedules["default/gone"]
    assert known.wrong is not None and "Europe/Bonn" in known.wrong.message
    lab.apply("gone", **HOURLY)
    assert len(_passed(lab, "2026-10-24T02:30")) == 1


def test_the_state_is_bounded(lab: Lab) -> None:
    lab.apply(cron="* * * * *", overlap="allow", inputs={"x": "y" * 60_000})
    for _ in range(30):
        lab.send("run", "nightly", ANN)
    lab.pass_to("2026-10-24T03:00")
    (value,) = lab.changelog.values()
    assert len(value) < 200_000
    state = decode(value)
    assert (len(state.running), len(state.history), len(state.followed)) == (100, 20, 20)


def _passed(lab: Lab, moment: str) -> list[dict[str, Any]]:
    before = len(lab.requests)
    lab.pass_to(moment)
    lab.now = max(lab.now, unix(moment))
    return lab.requests[before:]
