"""Moments of schedules, compared with minutes that are counted one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.schedules.moments import Timing, Wrong, timing
from streams.schedules import Schedule

#: Gaps and repetitions of one hour, of half an hour, at midnight, and of the southern summer.
ZONES = [
    "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe",
    "Pacific/Auckland", "Africa/Cairo", "America/Havana", "Asia/Kolkata", "UTC",
]  # fmt: skip
#: Nights at which a clock of one of these zones is changed, and ordinary ones.
DAYS = [
    datetime(2026, month, day, tzinfo=UTC)
    for month, day in [
        (3, 8), (3, 29), (4, 4), (4, 5), (4, 24), (9, 5), (9, 6), (9, 27), (10, 4), (10, 25),
        (10, 29), (11, 1), (6, 15),
    ]
]  # fmt: skip


def timed(**fields: Any) -> Timing:
    found = timing(Schedule(name="n", procedure="p", **fields), "default")
    assert isinstance(found, Timing), found
    return found


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def all_after(schedule: Timing, moment: float, until: float) -> list[float]:
    found: list[float] = []
    following = schedule.after(moment)
    while following is not None and following <= until:
        found.append(following)
        following = schedule.after(following)
    return found


def text(moment: float | None, zone: str = "UTC") -> str:
    assert moment is not None
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%m-%d %H:%M %z")


def minutes_of(begin: datetime, hours: int) -> list[datetime]:
    return [begin + timedelta(minutes=minute) for minute in range(1, hours * 60 + 1)]


@given(
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(DAYS),
    before=st.integers(0, 30),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_a_fixed_time_comes_once_each_day_whatever_the_clock_does(
    zone: str, day: datetime, before: int, minutes: set[int], hours: set[int]
) -> None:
    """Of each local day every fixed time once: itself, or the end of the gap that swallows it."""
    here = ZoneInfo(zone)
    begin = day - timedelta(hours=before)
    cron = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    shown = minutes_of(begin, 50)
    wanted: set[float] = set()
    seen: set[str] = set()
    # Walk real time; a local minute counts when the clock shows it first, or jumps over it.
    last = begin.astimezone(here).replace(tzinfo=None)
    # What the clock has shown before the beginning counts as shown.
    for earlier in reversed([begin - timedelta(minutes=number) for number in range(240)]):
        seen.add(earlier.astimezone(here).strftime("%d %H:%M"))
    for real in shown:
        local = real.astimezone(here).replace(tzinfo=None)
        step = local
        passed = []
        while step > last and step - last <= timedelta(hours=3):
            passed.append(step)
            step -= timedelta(minutes=1)
        for minute in passed:
            name = minute.strftime("%d %H:%M")
            if minute.minute in minutes and minute.hour in hours and name not in seen:
                wanted.add(real.timestamp())
            seen.add(name)
        last = max(last, local) if last - local < timedelta(hours=3) else local
    until = shown[-1].timestamp()
    assert all_after(timed(cron=cron, timezone=zone), begin.timestamp(), until) == sorted(wanted)


@given(
    zone=st.sampled_from([zone for zone in ZONES if zone != "Australia/Lord_Howe"]),
    day=st.sampled_from(DAYS),
    every=st.sampled_from([1, 5, 7, 15, 30]),
    hours=st.sampled_from(["*", "*/2", "*/3"]),
)
@settings(max_examples=40, deadline=None)
def test_wildcards_go_by_real_time(zone: str, day: datetime, every: int, hours: str) -> None:
    """Every real minute whose local time matches, also twice in a night, or never."""
    here = ZoneInfo(zone)
    begin = day - timedelta(hours=12)
    step = 1 if hours == "*" else int(hours[2:])
    wanted = [
        real.timestamp()
        for real in minutes_of(begin, 30)
        for local in [real.astimezone(here)]
        if local.minute % every == 0 and local.hour % step == 0
    ]
    found = timed(cron=f"*/{every} {hours} * * *", timezone=zone)
    assert all_after(found, begin.timestamp(), (begin + timedelta(hours=30)).timestamp()) == wanted


def test_the_nights_of_the_documents() -> None:
    nightly = timed(cron="30 2 * * *", timezone="Europe/Berlin")
    spring = all_after(nightly, at("2026-03-27T12:00Z"), at("2026-03-31T00:00Z"))
    assert [text(moment, "Europe/Berlin") for moment in spring] == [
        "03-28 02:30 +0100", "03-29 03:00 +0200", "03-30 02:30 +0200",
    ]  # fmt: skip
    autumn = all_after(nightly, at("2026-10-23T12:00Z"), at("2026-10-27T00:00Z"))
    assert [text(moment, "Europe/Berlin") for moment in autumn] == [
        "10-24 02:30 +0200", "10-25 02:30 +0200", "10-26 02:30 +0100",
    ]  # fmt: skip


@given(
    cron=st.sampled_from(
        ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "* 0 * * *", "15,45 9-17 * * 1-5",
         "0 12 29 2 *", "0 0 * * MON#5"]
    ),
    zone=st.sampled_from(ZONES),
    after=st.integers(1_760_000_000, 1_800_000_000),
    span=st.integers(0, 86_400 * 10),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_last_moment_of_a_range(cron: str, zone: str, after: int, span: int) -> None:
    span = min(span, 20_000) if cron.startswith("*") else span
    found = timed(cron=cron, timezone=zone)
    every = all_after(found, after, after + span)
    assert found.last(after, after + span) == (every[-1] if every else None)


@given(
    every=st.integers(5, 100_000),
    begin=st.integers(-5, 5),
    after=st.integers(-500_000, 500_000),
    span=st.integers(0, 500_000),
)
def test_intervals_are_counted_from_their_beginning(
    every: int, begin: int, after: int, span: int
) -> None:
    start = at("2026-01-01T00:00Z") + begin
    found = timed(every_seconds=every, begin=datetime.fromtimestamp(start, UTC))
    moment = found.after(start + after)
    assert moment is not None and moment >= start and (moment - start) % every == 0
    assert moment > start + after and (moment == start or moment - every <= start + after)
    last = found.last(start + after, start + after + span)
    first = max(0, after // every + 1) * every
    wanted = first + (after + span - first) // every * every if first <= after + span else None
    assert last == (None if wanted is None else start + wanted)


def test_an_interval_that_began_long_ago_is_no_loop() -> None:
    found = timed(every_seconds=5, begin="1971-01-01T00:00:00Z")
    for _ in range(1_000):  # Seconds, were it a loop.
        assert found.last(0.0, at("2026-11-20T00:00:03Z")) == at("2026-11-20T00:00:00Z")


def test_nothing_before_begin_and_after_end() -> None:
    found = timed(cron="0 * * * *", begin="2026-01-01T02:00:00Z", end="2026-01-01T04:00:00Z")
    moments = all_after(found, 0.0, at("2030-01-01T00:00Z"))
    assert [text(moment) for moment in moments] == [
        "01-01 02:00 +0000", "01-01 03:00 +0000", "01-01 04:00 +0000",
    ]  # fmt: skip
    once = timed(at="2026-01-01T02:00:00Z")
    assert all_after(once, 0.0, at("2030-01-01T00:00Z")) == [at("2026-01-01T02:00Z")]


@given(jitter=st.integers(1, 86_400), number=st.integers(0, 10_000))
def test_jitter_is_the_same_everywhere_and_never_passes_the_next_moment(
    jitter: int, number: int
) -> None:
    found = timed(every_seconds=600, jitter_seconds=jitter)
    moment = number * 600.0
    late = found.due(moment) - moment
    assert 0 <= late <= min(jitter, 600)
    assert timed(every_seconds=600, jitter_seconds=jitter).due(moment) - moment == late


def test_jitter_spreads() -> None:
    found = timed(every_seconds=3_600, jitter_seconds=600)
    late = sorted(found.due(hour * 3_600.0) - hour * 3_600.0 for hour in range(1_000))
    assert late[100] < 120 and 240 < late[500] < 360 and late[900] > 480


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"cron": "30 2 30 2 *"}, "cron", "one that a month has: 30 2 30 2 *"),
        ({"cron": "0 0 */20 * 1L"}, "cron", "names days that never come"),
        ({"cron": "61 * * * *"}, "cron", "its minute must be 0 to 59"),
        ({"cron": "0 0 * * * *"}, "cron", "it must have five fields"),
        ({"cron": "@daily"}, "cron", "it must have five fields"),
        ({"cron": "0 0 * * Mo"}, "cron", "0 to 7, or SUN to SAT"),
        ({"cron": "0 2 * * *", "timezone": "Europe/Berlinn"}, "timezone", "Europe/Berlin?"),
        ({"cron": "0 2 * * *", "timezone": "../../etc/passwd"}, "timezone", "no time zone"),
        ({"cron": "0 2 * * *", "timezone": "Europe"}, "timezone", "no time zone"),
        ({"cron": "0 2 * * *", "timezone": "a\0b"}, "timezone", "no time zone"),
        ({"at": "9999-12-31T23:59:59Z"}, "at", "its year must be 1971 to 2199"),
        ({"cron": "0 0 * * *", "begin": "0001-01-01T00:00:00+14:00"}, "begin", "its year"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    fields: dict[str, Any], field: str, message: str
) -> None:
    found = timing(Schedule(name="n", procedure="p", **fields), "default")
    assert isinstance(found, Wrong)
    assert found.field == field and message in found.message and "\n" not in found.message
