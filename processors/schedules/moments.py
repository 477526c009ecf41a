"""Moments: when a schedule is due, in Unix seconds. Pure: time comes in as an argument.

Each is found from the one before it, by arithmetic or by the library; nothing goes through all
moments since the schedule began.

Of a cron text, times go by the clock of its zone, as Debian's cron has them. A fixed time (minute
and hour without `*`) that a night skips comes at the first minute after the gap, and one that a
night has twice comes the first time only. With `*` in front of minute or hour real time counts, so
that every 15 minutes stay 15 minutes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from streams.schedules import Schedule

#: Years in which a moment may lie: dates far beyond have no rules of daylight saving time.
YEARS: Final = range(1970, 2201)
#: A cron text with each minute of an hour that a night has twice is looked through so far.
_MOST_TWICE: Final = 2_000
#: From here on a text is asked for its first moment, to see whether it ever comes.
_ANY_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)
_PARTS: Final = {
    "Bad minute": "its minute must be 0 to 59",
    "Bad hour": "its hour must be 0 to 23",
    "Bad day-of-month": "its day of the month must be 1 to 31, L or LW, and one that a month has",
    "Bad month": "its month must be 1 to 12, or JAN to DEC",
    "Bad day-of-week": "its day of the week must be 0 to 7, or SUN to SAT",
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A field of a schedule that cannot be used, and why, as a sentence."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Timing:
    """The moments of one schedule."""

    schedule: Schedule
    tenant: str
    zone: ZoneInfo
    begin: float | None
    end: float | None

    def after(self, moment: float) -> float | None:
        """The first moment later than this one; None where none comes any more."""
        if self.begin is not None and moment < self.begin:
            moment = self.begin - 0.001
        found = self._next(moment)
        if found is None or (self.end is not None and found > self.end):
            return None
        return found

    def between(self, begin: float, end: float, most: int) -> list[float]:
        """The first moments from `begin` to `end`, both included; no more than `most`."""
        found: list[float] = []
        moment = self.after(begin - 0.001)
        while moment is not None and moment <= end and len(found) < most:
            found.append(moment)
            moment = self.after(moment)
        return found

    def last(self, after: float, until: float) -> float | None:
        """The last moment that is later than `after` and not later than `until`."""
        found = self.after(after)
        if found is None or found > until:
            return None
        if self.schedule.cron is None:
            return self._last_of_interval(found, until)
        # The nearer to `until` a search begins, the fewer moments lie behind its answer.
        above = until
        while (following := self.after(found)) is not None and following <= until:
            middle = self.after((found + above) / 2)
            if middle is not None and middle <= until:
                found = max(middle, following)
            else:
                above = (found + above) / 2
                found = following
        return found

    def due(self, moment: float) -> float:
        """When a moment is started: up to `jitter_seconds` later, and never after the next one."""
        spread = self.schedule.jitter_seconds * 1_000
        if not spread:
            return moment
        text = f"{self.tenant}/{self.schedule.name}/{round(moment * 1_000)}"
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (spread + 1)
        following = self.after(moment)
        late = moment + drawn / 1_000
        return late if following is None else min(late, following)

    def _next(self, moment: float) -> float | None:
        schedule = self.schedule
        if schedule.at is not None:
            at = schedule.at.timestamp()
            return at if at > moment else None
        if schedule.every_seconds is not None:
            # In whole milliseconds: fractions of seconds do not add up.
            every, begin = schedule.every_seconds * 1_000, round((self.begin or 0.0) * 1_000)
            return (begin + ((round(moment * 1_000) - begin) // every + 1) * every) / 1_000
        return self._cron(moment)

    def _cron(self, moment: float) -> float | None:
        whole = int(moment // 1)
        begin = datetime.fromtimestamp(whole, UTC).astimezone(self.zone)
        if begin.year not in YEARS:
            return None
        try:
            for found in islice(CronSim(self.schedule.cron or "", begin), _MOST_TWICE):
                seconds = found.timestamp()
                # In an hour that comes twice the library goes by the first of the two.
                if seconds > moment:
                    return seconds if found.year in YEARS else None
        except OverflowError:
            return None
        return None

    def _last_of_interval(self, first: float, until: float) -> float:
        every = self.schedule.every_seconds
        if every is None:
            return first
        if self.end is not None:
            until = min(until, self.end)
        span = round(until * 1_000) - round(first * 1_000)
        return (round(first * 1_000) + span // (every * 1_000) * every * 1_000) / 1_000


def timing(schedule: Schedule, tenant: str) -> Timing | Wrong:
    """The moments of a schedule, or which field of it cannot be used."""
    zone = _zone(schedule.timezone)
    if zone is None:
        near = get_close_matches(schedule.timezone, available_timezones(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "write one such as Europe/Berlin, or UTC"
        return Wrong("timezone", f"there is no time zone {schedule.timezone!r}; {hint}")
    given = {"begin": schedule.begin, "end": schedule.end, "at": schedule.at}
    for field, moment in given.items():
        if moment is not None and moment.year not in YEARS[1:-1]:
            return Wrong(field, f"its year must be {YEARS[1]} to {YEARS[-2]}")
    if schedule.cron is not None:
        wrong = _wrong_cron(schedule.cron)
        if wrong is not None:
            return Wrong("cron", wrong)
    seconds = [
        None if moment is None else moment.timestamp() for moment in (schedule.begin, schedule.end)
    ]
    return Timing(schedule, tenant, zone, *seconds)


@lru_cache(maxsize=1_000)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # No such file, no name of one, or no rules in it.
        return None


@lru_cache(maxsize=1_000)
def _wrong_cron(text: str) -> str | None:
    """Why a cron text cannot be used, or None."""
    if len(text.split()) != 5:
        return (
            "it must have five fields: minute, hour, day of the month, month, day of the week, "
            "as in 30 2 * * *"
        )
    try:
        next(CronSim(text, _ANY_DAY))
    except CronSimError as error:
        return f"{_PARTS.get(str(error), str(error))}: {text}"
    except (StopIteration, OverflowError):
        return f"it names days that never come: {text}"
    except (ValueError, TypeError, AssertionError):
        return f"it is no cron text: {text}"
    return None
