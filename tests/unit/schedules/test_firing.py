"""When schedules start what: clocks, outages, restarts, and what still runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.schedules.partition import MAX_STARTS
from processors.schedules.state import MAX_HISTORY
from streams.ids import route_key, route_of
from tests.unit.schedules.lab import Lab, iso, unix

BERLIN = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}


def test_a_firing_is_a_request_of_the_procedure(lab: Lab) -> None:
    lab.apply(**BERLIN, inputs={"database": "shop"}, version=3, moment_input="night")
    assert lab.pass_to("2026-10-24T12:00") == ["2026-10-24T00:30:00Z"]
    (request,) = lab.requests
    key = "schedule:nightly:2026-10-24T00:30:00Z"
    assert route_of(request.pop("execution_id")) == route_key("default", key)
    assert request == {
        "tenant": "default", "actor": "ops", "procedure": "work", "version": "3",
        "inputs": {"database": "shop", "night": "2026-10-24T00:30:00Z"},
        "idempotency_key": key,
        "started_by": {"kind": "schedule", "name": "nightly", "cause": "2026-10-24T00:30:00Z",
                       "key": lab.state().kid},
    }  # fmt: skip
    assert lab.state().kid is not None


def test_once_a_night_over_both_changes_of_the_clock_whatever_restarts(tmp_path: Path) -> None:
    for begin, days, wanted in (
        ("2026-10-23T12:00", range(24, 28),
         ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("2027-03-26T12:00", range(27, 31),
         ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]),
    ):  # fmt: skip
        lab = Lab(tmp_path, begin)
        lab.apply(**BERLIN)
        for day in days:
            for time in ("00:15", "00:30", "00:45", "01:00", "01:30", "02:00", "02:31"):
                lab.pass_to(f"{begin[:7]}-{day}T{time}", ending=True)
                lab.restart()
        assert lab.causes()[:3] == wanted and len(lab.requests) == 4


def test_a_router_that_is_killed_in_the_middle_fires_once(lab: Lab) -> None:
    lab.apply(**BERLIN)
    lab.now = unix("2026-10-24T00:30:01")
    lab.partition.tick(lab.now, lab.out)
    lab.restart(committed=False)  # Its transaction was not committed.
    assert lab.requests == []
    lab.tick()
    lab.restart()
    lab.tick()
    assert lab.causes() == ["2026-10-24T00:30:00Z"]


@pytest.mark.parametrize(
    ("misfire", "until", "started"),
    [
        ({"policy": "latest"}, "2026-10-24T05:20", ["05:00"]),
        ({"policy": "latest", "within_seconds": 600}, "2026-10-24T05:20", []),
        ({"policy": "all", "within_seconds": 6_000}, "2026-10-24T05:20", ["04:00", "05:00"]),
        ({"policy": "skip"}, "2026-10-24T05:20", []),
        ({"policy": "skip"}, "2026-10-24T05:00:30", ["05:00"]),
        ({"policy": "skip", "within_seconds": 10}, "2026-10-24T05:00:30", []),
    ],
)  # fmt: skip
def test_what_came_during_an_outage(
    lab: Lab, misfire: dict[str, Any], until: str, started: list[str]
) -> None:
    lab.apply(cron="0 * * * *", misfire=misfire, overlap="allow")
    lab.pass_to("2026-10-24T01:30")
    assert [cause[11:16] for cause in lab.leap(until)] == started
    # What was not started is told, and the next moment comes as if nothing had been.
    missed = [one for one in lab.state().history if one.outcome == "missed"]
    hours = {"02:00", "03:00", "04:00", "05:00"} - set(started)
    told = {iso(one.moment)[11:16] for one in missed}
    told |= {iso(one.until)[11:16] for one in missed if one.until is not None}
    assert told <= hours and (min(told), max(told)) == (min(hours), max(hours))
    assert [cause[11:16] for cause in lab.pass_to("2026-10-24T06:30")] == ["06:00"]


def test_all_of_a_long_outage_is_bounded(lab: Lab) -> None:
    lab.apply(every_seconds=5, misfire={"policy": "all", "within_seconds": 2_000_000},
              overlap="queue", max_queued=100)  # fmt: skip
    lab.leap("2026-11-14T00:00")
    # The first runs, the last hundred wait.
    assert len(lab.requests) == 1 and len(lab.state().waiting) == 100
    first, last = unix(lab.causes()[0]), lab.state().waiting[-1].moment
    assert last == lab.now and 4_900 <= last - first <= 5_000
    assert len(lab.state().history) == MAX_HISTORY


def test_a_plan_that_lasts_longer_than_a_minute(lab: Lab) -> None:
    lab.apply(cron="* * * * *")
    assert lab.pass_to("2026-10-24T00:05:30") == ["2026-10-24T00:01:00Z"]
    lab.end(lab.requests[0])
    assert lab.pass_to("2026-10-24T00:06:30") == ["2026-10-24T00:06:00Z"]
    assert [kind for _, kind in lab.outcomes()] == ["skipped"] * 4 + ["completed"]
    execution_id = lab.requests[0]["execution_id"]
    assert lab.state().history[0].message == f"the execution {execution_id} has not ended"


def test_a_queue_drops_the_oldest(lab: Lab) -> None:
    lab.apply(cron="* * * * *", overlap="queue", max_queued=2)
    lab.pass_to("2026-10-24T00:04:30")
    assert [kind for _, kind in lab.outcomes()] == ["dropped"]
    lab.restart()
    lab.end(lab.requests[0])
    lab.end(lab.requests[1], "failed", reason="step a failed")
    assert [cause[14:16] for cause in lab.causes()] == ["01", "03", "04"]
    assert [kind for _, kind in lab.outcomes()] == ["dropped", "completed", "failed"]


def test_what_is_allowed_runs_at_once_up_to_a_bound(lab: Lab) -> None:
    lab.apply(cron="* * * * *", overlap="allow")
    lab.pass_to("2026-10-24T02:00:30")
    assert len(lab.requests) == 100
    assert lab.outcomes()[-1] == ("2026-10-24T02:00:00Z", "skipped")


def test_an_execution_that_is_never_heard_of_does_not_block_for_ever(lab: Lab) -> None:
    lab.apply(cron="0 0 * * *", overlap="queue")
    lab.pass_to("2026-10-25T00:01")
    started = lab.causes()
    lab.pass_to("2026-11-02T12:00")
    assert ("2026-10-25T00:00:00Z", "lost") in lab.outcomes()
    assert len(lab.causes()) == len(started) + 1
    # Its end, when it comes at last, changes nothing.
    waiting = list(lab.state().waiting)
    lab.end(lab.requests[0])
    assert lab.state().waiting == waiting


@pytest.mark.parametrize("status", ["rejected", "duplicate", "cancelled", "timed_out"])
def test_whatever_became_of_an_execution_the_next_moment_comes(lab: Lab, status: str) -> None:
    lab.apply(cron="0 * * * *")
    lab.pass_to("2026-10-24T01:30")
    request = dict(lab.requests[0])
    if status == "duplicate":  # Told of the execution that there was before.
        request["execution_id"] = "0" * 36
    lab.end(request, status, reason="inputs.path: it must be given")
    assert lab.pass_to("2026-10-24T02:30") == ["2026-10-24T02:00:00Z"]
    (outcome,) = lab.state().history
    assert (outcome.outcome, outcome.message) == (status, "inputs.path: it must be given")
    assert outcome.execution_id == request["execution_id"]


def test_a_pause_is_not_made_up_for(lab: Lab) -> None:
    lab.apply(cron="0 * * * *", overlap="queue")
    lab.pass_to("2026-10-24T01:30")
    assert lab.send("pause", reason="works") is None
    assert lab.pass_to("2026-10-24T04:30") == []
    lab.restart()
    assert lab.send("run") is None
    lab.end(lab.requests[0])
    # What an operator asks for runs in a pause, too.
    assert lab.causes()[1] == "2026-10-24T04:30:00.001Z"
    lab.end(lab.requests[1])
    assert lab.send("resume") is None and lab.send("resume") is None
    assert lab.pass_to("2026-10-24T05:30") == ["2026-10-24T05:00:00Z"]


def test_applied_paused(lab: Lab) -> None:
    lab.apply(cron="0 * * * *", paused=True)
    assert lab.pass_to("2026-10-24T04:30") == []
    assert lab.send("resume") is None
    # The same file again is no pause again, and neither is another change of it.
    lab.apply(cron="0 * * * *", paused=True)
    lab.apply(cron="0 * * * *", paused=True, description="x")
    assert lab.pass_to("2026-10-24T05:30") == ["2026-10-24T05:00:00Z"]


def test_run_is_subject_to_overlap_and_starts_once_for_its_moment(lab: Lab) -> None:
    lab.apply(cron="0 * * * *")
    lab.pass_to("2026-10-24T01:00:30")
    assert lab.send("run", moment="2026-10-24T01:00:30Z") is None
    assert lab.outcomes() == [("2026-10-24T01:00:30Z", "skipped")]
    lab.end(lab.requests[0])
    for _ in range(2):
        assert lab.send("run", moment="2026-10-24T01:01:00Z") is None
    assert lab.causes() == ["2026-10-24T01:00:00Z", "2026-10-24T01:01:00Z"]


def test_once_stays_listed(lab: Lab) -> None:
    lab.apply(at="2026-10-24T03:00:00+02:00")
    assert lab.pass_to("2026-10-25T00:00") == ["2026-10-24T01:00:00Z"]
    lab.end(lab.requests[0])
    lab.restart()
    lab.apply(at="2026-10-24T03:00:00+02:00")
    assert lab.pass_to("2026-10-27T00:00") == []
    assert lab.outcomes() == [("2026-10-24T01:00:00Z", "completed")]


def test_once_in_the_past(lab: Lab) -> None:
    lab.apply("just", at="2026-10-23T23:59:30Z")
    lab.apply("long", at="2026-10-23T23:00:00Z")
    assert lab.pass_to("2026-10-25T00:00") == ["2026-10-23T23:59:30Z"]


def test_a_clock_that_goes_backwards_fires_nothing_twice(lab: Lab) -> None:
    lab.apply(cron="*/10 * * * *", overlap="allow")
    lab.pass_to("2026-10-24T01:05")
    lab.now = unix("2026-10-24T00:35")
    lab.restart()
    lab.tick()
    lab.pass_to("2026-10-24T02:05")
    causes = lab.causes()
    assert len(causes) == len(set(causes)) == 12


def test_another_definition_keeps_what_runs(lab: Lab) -> None:
    lab.apply(cron="0 * * * *")
    lab.pass_to("2026-10-24T01:00:30")
    running = lab.state().running
    lab.apply(cron="*/30 * * * *", inputs={"a": 1})
    assert lab.state().running == running
    lab.pass_to("2026-10-24T01:30:30")
    assert lab.outcomes() == [("2026-10-24T01:30:00Z", "skipped")]
    lab.end(lab.requests[0])
    # Not at 01:30 again, which was decided, with whatever definition.
    lab.now = unix("2026-10-24T01:29")
    lab.apply(cron="30 * * * *", inputs={"a": 2})
    assert lab.pass_to("2026-10-24T02:31") == ["2026-10-24T02:30:00Z"]


def test_backfill_goes_through_a_range_in_order(lab: Lab) -> None:
    lab.apply(**BERLIN, moment_input="night")
    assert lab.send("backfill", begin="2026-10-01T00:00Z", end="2026-10-04T00:00Z") is None
    for number in range(3):
        assert len(lab.requests) == number + 1  # One after the other.
        lab.restart()
        lab.end(lab.requests[number])
    assert [request["inputs"]["night"] for request in lab.requests] == [
        "2026-10-01T00:30:00Z", "2026-10-02T00:30:00Z", "2026-10-03T00:30:00Z",
    ]  # fmt: skip
    assert lab.state().backfills == []


def test_a_moment_comes_between_those_of_a_backfill(lab: Lab) -> None:
    lab.apply(cron="0 * * * *")
    assert lab.send("backfill", begin="2026-10-01T00:00Z", end="2026-10-01T09:00Z") is None
    lab.pass_to("2026-10-24T01:30")
    lab.end(lab.requests[0])
    assert lab.causes()[1] == "2026-10-24T01:00:00Z"
    assert lab.send("pause") is None
    lab.end(lab.requests[1])
    assert len(lab.requests) == 2  # A pause stops a backfill.
    assert lab.send("resume") is None
    assert lab.causes()[2] == "2026-10-01T01:00:00Z"


def test_many_schedules_at_the_same_second_are_many_transactions(lab: Lab) -> None:
    for number in range(250):
        lab.apply(f"s{number}", cron="0 1 * * *")
    lab.now = unix("2026-10-24T01:00")
    ticks = 0
    while (due := lab.partition.next_deadline()) is not None and due <= lab.now:
        before = len(lab.requests)
        lab.partition.tick(lab.now, lab.out)
        lab.commit()
        assert len(lab.requests) - before <= MAX_STARTS
        ticks += 1
        lab.restart()
    assert ticks == 3 and len({one["idempotency_key"] for one in lab.requests}) == 250


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_each_moment_is_decided_once(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Whatever restarts, goes back in time and ends: started, or told why not, and never twice."""
    lab = Lab(tmp_path_factory.mktemp("lab"), "2026-10-24T00:00")
    draw = data.draw
    lab.apply(
        cron=draw(st.sampled_from(["*/7 * * * *", "0 * * * *", "13,14 * * * *"])),
        overlap=draw(st.sampled_from(["skip", "queue", "cancel", "allow"])),
        misfire={"policy": draw(st.sampled_from(["latest", "all", "skip"]))},
        jitter_seconds=draw(st.sampled_from([0, 0, 300])),
    )
    ended = 0
    for _ in range(draw(st.integers(1, 20))):
        match draw(st.sampled_from(["on", "on", "back", "leap", "end", "crash"])):
            case "on":
                lab.pass_to(iso(lab.now + draw(st.integers(1, 4_000))))
            case "back":
                lab.now -= draw(st.integers(1, 4_000))
                lab.restart()
            case "leap":
                lab.leap(iso(lab.now + draw(st.integers(1, 20_000))))
            case "end" if ended < len(lab.requests):
                lab.end(lab.requests[ended])
                ended += 1
            case "crash":
                lab.now += 600
                if (lab.partition.next_deadline() or lab.now + 1) <= lab.now:
                    lab.partition.tick(lab.now, lab.out)
                lab.restart(committed=False)
    causes = lab.causes()
    assert len(causes) == len(set(causes))
    if lab.state().schedule and lab.state().schedule.overlap != "allow":  # type: ignore[union-attr]
        assert len(lab.state().running) <= 1
