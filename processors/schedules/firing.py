"""Firing: which of the moments that are due are started; pure.

One moment of many that came while nothing ran is looked for, not counted up to: what an outage left
behind costs as much as its policy starts.
"""

from __future__ import annotations

from typing import Final

from processors.schedules.moments import Timing
from processors.schedules.starting import Decision, can_pump, drop_lost, lost_at, offer, pump
from processors.schedules.state import Known, Outcome
from streams.schedules import Schedule

#: A moment that is started later than this after it was due was missed, where `skip` asks.
ON_TIME_SECONDS: Final = 60.0
#: Of the moments that were missed so many are started at most, the last ones.
MAX_MISSED: Final = 1_000
#: A removed schedule is kept this long beyond the window in which a signed command counts.
_MORE_SECONDS: Final = 3_600.0


def fire(known: Known, decision: Decision) -> None:
    """Decide about every moment that is due, as far as the budget of the decision goes."""
    state = known.state
    drop_lost(known, decision)
    pump(known, decision)
    schedule, timing = state.schedule, known.timing
    if schedule is None or timing is None or state.paused:
        return
    now, counted = decision.now, False
    while not decision.spent and known.moment is not None and _is_due(known, now):
        moment = known.moment
        following = timing.after(moment)
        if following is None or timing.due(following) > now:
            _take(known, moment, following, schedule, decision)
            return
        # More than one is due.
        if schedule.misfire.policy == "all":
            first = moment if counted else _first_of_all(timing, moment, now, schedule)
            counted = True
            if first is None or first > moment:
                _miss(known, moment, first, now)
            else:
                _take(known, moment, following, schedule, decision)
            continue
        last = timing.last(moment, now)
        if last is not None and timing.due(last) > now:
            last = timing.last(moment, last - 0.001)
        if last is None:  # Only `moment` itself.
            _take(known, moment, following, schedule, decision)
            return
        _miss(known, moment, last, now)


def next_timer(known: Known, window_seconds: float) -> float | None:
    """When the schedule must be looked at again, in Unix seconds."""
    state = known.state
    moments: list[float] = []
    if state.removed is not None:
        moments.append(state.removed + window_seconds + _MORE_SECONDS)
    lost = lost_at(state)
    if lost is not None:
        moments.append(lost)
    if can_pump(state) and (known.timing is not None or state.waiting):
        moments.append(0.0)
    if not state.paused and known.due is not None:
        moments.append(known.due)
    return min(moments, default=None)


def is_forgotten(known: Known, window_seconds: float, now: float) -> bool:
    """Whether nothing of a removed schedule needs to be kept any more."""
    removed = known.state.removed
    return removed is not None and removed + window_seconds + _MORE_SECONDS <= now


def _is_due(known: Known, now: float) -> bool:
    return known.due is not None and known.due <= now


def _take(
    known: Known, moment: float, following: float | None, schedule: Schedule, decision: Decision
) -> None:
    """Start a moment, unless it was due too long ago."""
    late = decision.now - (known.due or moment)
    known.state.decided = moment
    known.expect(following)
    if late > _allowed(schedule):
        known.state.note(_missed(moment, None, decision.now))
    else:
        offer(known, moment, "moment", decision)


def _miss(known: Known, moment: float, following: float | None, now: float) -> None:
    """Start nothing from `moment` on up to before `following`."""
    timing = known.timing
    if timing is None:
        return
    last = timing.last(moment, (now if following is None else following) - 0.001)
    if last is None:
        last = moment
    known.state.decided = last
    known.state.note(_missed(moment, last if last != moment else None, now))
    known.expect(timing.after(last))


def _missed(moment: float, until: float | None, now: float) -> Outcome:
    message = "nothing could be started at that time"
    return Outcome(moment, "moment", "missed", now, until=until, message=message)


def _allowed(schedule: Schedule) -> float:
    """How late a moment is still started."""
    if schedule.misfire.policy == "skip":
        return min(ON_TIME_SECONDS, schedule.misfire.within_seconds)
    return schedule.misfire.within_seconds


def _first_of_all(timing: Timing, moment: float, now: float, schedule: Schedule) -> float | None:
    """The first moment from this one on that is started where all of them are."""
    begin = now - schedule.misfire.within_seconds
    first: float | None = moment
    if moment < begin:
        first = timing.after(begin - 0.001)
        # A moment whose jitter ends within the time is left out with those before it: at most one.
    if first is None or first > now:
        return None
    low, high = first, now
    if not _too_many(timing, low, now):
        return first
    # The earliest moment from which on there are not too many, to within a second.
    while high - low > 1.0:
        middle = (low + high) / 2
        if _too_many(timing, middle, now):
            low = middle
        else:
            high = middle
    return timing.after(high)


def _too_many(timing: Timing, begin: float, now: float) -> bool:
    """Whether more than MAX_MISSED moments lie in this range."""
    moment: float | None = begin
    for _ in range(MAX_MISSED):
        moment = timing.after(moment) if moment is not None else None
        if moment is None or moment > now:
            return False
    return True
