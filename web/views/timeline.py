"""The timeline: attempts and waits of each step on one axis of time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import quote

from reading.models.events import EventView
from reading.models.executions import ExecutionDetail
from reading.models.steps import Attempt, StepSummary
from streams.lifecycle import STEP_ENDED, TERMINAL_EVENTS
from web.statuses import Look, execution_look, step_look
from web.views.steps import depth_of, in_order, label_of
from web.wording import duration

#: The smallest width of a bar, in percent: what took no time is still seen.
_LEAST: Final = 0.35
#: Lengths between the marks of the axis, in seconds.
_MARKS: Final = (
    0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400,
    21_600, 43_200, 86_400, 172_800, 432_000, 864_000, 2_592_000,
)  # fmt: skip
_MOST_MARKS: Final = 7
#: Stands for the whole plan where steps stand by their names; no step has it.
WHOLE: Final = ""
#: After these a step, or the whole plan, waits.
_WAITS: Final = frozenset(
    {
        "step.waiting", "step.retry_scheduled", "step.polled", "step.lost", "step.needs_attention",
        "execution.approval_requested", "execution.queued", "execution.paused",
        "execution.needs_attention",
    }
)  # fmt: skip
#: Events of the plan that begin or end a wait of it.
_WHOLE: Final = frozenset(
    {
        "execution.approval_requested", "execution.approved", "execution.queued",
        "execution.started", "execution.paused", "execution.resumed",
        "execution.needs_attention", *TERMINAL_EVENTS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt or a wait: where it lies on the axis, in percent."""

    kind: Literal["attempt", "wait"]
    x: float
    width: float
    tone: str
    title: str
    #: It goes on.
    open: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One step."""

    step: str
    label: str
    depth: int
    look: Look
    #: None where it stands for the whole plan.
    href: str | None
    bars: list[Bar]
    #: What is said beside the last bar: how long, or why it waits.
    note: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of the axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """All lines with their axis."""

    lines: list[Line]
    marks: list[Mark]
    #: Where now is; null where it has ended.
    now: float | None
    begin: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Span:
    """A wait: from when to when, and why."""

    begin: datetime
    end: datetime | None
    reason: str


def timeline(
    detail: ExecutionDetail,
    steps: Sequence[StepSummary],
    attempts: Iterable[Attempt],
    events: Iterable[EventView],
    now: datetime,
    href: str,
) -> Timeline:
    """The timeline of these steps; `href` has `{step}` where the step's name belongs."""
    by_step: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_step[attempt.step].append(attempt)
    waits = spans(events)
    ended = detail.completed_at
    begin = detail.started_at or detail.created_at
    end = max(ended or now, begin + timedelta(milliseconds=50))
    axis = _Axis(begin, (end - begin).total_seconds() * (1.0 if ended else 1.04), now, end)
    lines = _whole(detail, waits.get(WHOLE, []), axis)
    lines += [
        _line(step, by_step[step.step], waits.get(step.step, []), axis, href)
        for step in in_order(steps)
    ]
    return Timeline(
        lines=lines,
        marks=_marks(axis.seconds),
        now=None if ended else axis.place(end),
        begin=begin,
        seconds=axis.seconds,
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    begin: datetime
    seconds: float
    now: datetime
    #: Until where what goes on is drawn.
    end: datetime

    def place(self, at: datetime) -> float:
        return round(
            min(100.0, max(0.0, 100 * (at - self.begin).total_seconds() / self.seconds)), 3
        )

    def bar(
        self, kind: Literal["attempt", "wait"], begin: datetime, end: datetime | None, tone: str,
        what: str,
    ) -> Bar:  # fmt: skip
        x = self.place(begin)
        until = end or self.end
        width = max(_LEAST, self.place(until) - x)
        took = duration(max(0.0, (until - begin).total_seconds()))
        return Bar(
            kind, min(x, 100 - _LEAST), round(width, 3), tone, f"{what}, {took}", end is None
        )


def _line(
    step: StepSummary, attempts: Sequence[Attempt], waits: Sequence[Span], axis: _Axis, href: str
) -> Line:
    look = step_look(step.status or "unknown")
    bars = [axis.bar("wait", one.begin, one.end, "wait", one.reason) for one in waits]
    bars += [bar for attempt in attempts for bar in _attempt(attempt, axis, bool(waits))]
    if not attempts and step.started_at is not None:
        end = step.completed_at
        bars.append(axis.bar("attempt", step.started_at, end, look.tone, look.word))
    return Line(
        step=step.step,
        label=label_of(step.step),
        depth=depth_of(step.step),
        look=look,
        href=href.replace("{step}", _quoted(step.step)),
        bars=bars,
        note=_note(step),
        attempts=step.attempt,
    )


def _whole(detail: ExecutionDetail, waits: Sequence[Span], axis: _Axis) -> list[Line]:
    """A line for what the plan as a whole waited for after its start, if it did."""
    seen = [one for one in waits if one.end is None or one.end > axis.begin]
    if not seen:
        return []
    look = execution_look(detail.status or "unknown")
    bars = [
        axis.bar("wait", max(one.begin, axis.begin), one.end, "wait", one.reason) for one in seen
    ]
    note = seen[-1].reason if seen[-1].end is None else ""
    return [Line(WHOLE, "the whole plan", 0, look, None, bars, note, 0)]


def _attempt(attempt: Attempt, axis: _Axis, waits_known: bool) -> list[Bar]:
    look = step_look(attempt.status or "unknown")
    ended = attempt.completed_at
    bars = []
    begin = attempt.started_at
    if attempt.dispatched_at is not None and not waits_known:
        until = begin or ended
        queued = (until or axis.end) - attempt.dispatched_at
        if queued.total_seconds() > axis.seconds / 200:
            reason = "waits for an executor"
            bars.append(axis.bar("wait", attempt.dispatched_at, until, "wait", reason))
    if begin is not None:
        what = f"Attempt {attempt.attempt}: {look.word.lower()}"
        bars.append(axis.bar("attempt", begin, ended, look.tone, what))
    return bars


def _note(step: StepSummary) -> str:
    if step.status in STEP_ENDED:
        return duration(step.duration_seconds) if step.started_at else step.status_reason or ""
    if step.status in ("waiting", "lost", "needs_attention"):
        return step.status_reason or ""
    return step.progress_message or ""


def spans(events: Iterable[EventView]) -> dict[str, list[Span]]:
    """What each step, and the plan as a whole, waited for: from its event to the next one."""
    found: dict[str, list[Span]] = defaultdict(list)
    open_: dict[str, tuple[datetime, str]] = {}
    for event in events:
        whole = event.step is None
        if event.type.startswith("audit.") or (whole and event.type not in _WHOLE):
            continue
        key = WHOLE if event.step is None else event.step
        reason = _reason(event)
        if key in open_:
            begin, before = open_[key]
            if reason == before:
                continue
            del open_[key]
            found[key].append(Span(begin, event.at, before))
        if reason is not None:
            open_[key] = (event.at, reason)
    for key, (begin, reason) in open_.items():
        found[key].append(Span(begin, None, reason))
    return found


def _reason(event: EventView) -> str | None:
    """What is waited for from this event on; None where nothing is."""
    if event.type == "step.dispatched":
        return "waits for an executor"
    if event.type not in _WAITS:
        return None
    message = event.data.get("message") or event.data.get("reason")
    return message if isinstance(message, str) and message else event.sentence


def _marks(seconds: float) -> list[Mark]:
    length = next((one for one in _MARKS if seconds / one <= _MOST_MARKS), _MARKS[-1])
    count = min(int(seconds / length), 60)
    return [
        Mark(round(100 * place * length / seconds, 3), _axis_text(place * length))
        for place in range(count + 1)
        if 100 * place * length / seconds < 97
    ]


def _axis_text(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    if seconds < 3_600:
        rest = seconds % 60
        return f"{seconds / 60:.0f} min" if not rest else f"{seconds // 60:.0f} min {rest:02.0f} s"
    if seconds < 86_400:
        rest = seconds % 3_600 // 60
        return f"{seconds // 3_600:.0f} h" if not rest else f"{seconds // 3_600:.0f} h {rest:02.0f}"
    return f"{seconds / 86_400:.0f} d"


def _quoted(step: str) -> str:
    return quote(step, safe="")
