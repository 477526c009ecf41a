"""The overview as its template shows it: how the executions of a range went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reading.models.health import ComponentHealth, SystemHealth
from reading.models.statistics import Figures, Point, Statistics
from web.statuses import EXECUTION, Look, Tone, execution_look
from web.views import charts
from web.views.looks import HEALTH, look_of
from web.wording import NOTHING, counted, duration, number

#: The ranges: what each is called, how long it is, and the spans of its charts.
RANGES: Final[dict[str, tuple[str, timedelta, int]]] = {
    "1h": ("1 hour", timedelta(hours=1), 30),
    "24h": ("24 hours", timedelta(hours=24), 48),
    "7d": ("7 days", timedelta(days=7), 56),
}
DEFAULT_RANGE: Final = "24h"
#: Rows of the tables of procedures and tools.
_MOST_ROWS: Final = 12
#: A rate below this asks for a look; below the second it is bad.
_GOOD_RATE: Final = 0.95
_BAD_RATE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with what it is about."""

    label: str
    value: str
    note: str
    tone: Tone | None = None
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart with its words; one of `bars` and `lines` is there."""

    title: str
    #: What it shows, for those who do not see it.
    told: str
    top: str
    begin: datetime
    end: datetime
    bars: charts.Bars | None
    lines: charts.Lines | None
    legend: list[tuple[Tone, str, bool]]


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One procedure or tool."""

    name: str
    href: str | None
    count: int
    rate: str
    rate_tone: Tone | None
    p50: str
    p95: str
    p99: str
    queue: str
    #: Of executions only.
    compliance: str | None


@dataclass(frozen=True, slots=True)
class ActiveStatus:
    """Executions that have not ended, of one status."""

    look: Look
    count: int
    href: str


@dataclass(frozen=True, slots=True)
class Component:
    """One part of the system."""

    name: str
    look: Look
    message: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The page."""

    ranges: list[tuple[str, str, bool]]
    empty: bool
    figures: list[Figure]
    active: list[ActiveStatus]
    drawings: list[Drawing]
    procedures: list[FigureRow]
    tools: list[FigureRow]
    health: list[Component]
    health_look: Look | None
    begin: datetime
    end: datetime


def overview(statistics: Statistics, health: SystemHealth | None, chosen: str) -> Overview:
    """The page of these figures."""
    whole = statistics.executions
    return Overview(
        ranges=[(key, text, key == chosen) for key, (text, _, _) in RANGES.items()],
        empty=whole.count == 0,
        figures=_figures(statistics, chosen),
        active=_active(statistics),
        drawings=_drawings(statistics),
        procedures=[_row(one, None) for one in statistics.procedures[:_MOST_ROWS]],
        tools=[_row(one, "/tools/") for one in statistics.tools[:_MOST_ROWS]],
        health=[] if health is None else [_component(one) for one in health.components],
        health_look=None if health is None else look_of(HEALTH, health.status),
        begin=statistics.since,
        end=statistics.until,
    )


def rate(value: float | None) -> str:
    """A share of 1 in percent, to a tenth; 100 only where nothing is missing."""
    if value is None:
        return NOTHING
    tenths = int(value * 1000)
    return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths / 10:.1f} %"


def rate_tone(value: float | None) -> Tone | None:
    """How good a share is."""
    if value is None:
        return None
    if value >= _GOOD_RATE:
        return "ok"
    return "person" if value >= _BAD_RATE else "fail"


def _figures(statistics: Statistics, chosen: str) -> list[Figure]:
    whole, now = statistics.executions, statistics.now
    late = whole.late or 0
    return [
        Figure(
            "Success rate",
            rate(whole.success_rate),
            f"{number(whole.succeeded)} of {counted(whole.count, 'execution')}",
            rate_tone(whole.success_rate),
        ),
        Figure(
            "SLA compliance",
            rate(whole.sla_compliance),
            f"{number(late)} late" if late else "none late",
            rate_tone(whole.sla_compliance),
            f"/executions?late=1&since={chosen}" if late else None,
        ),
        Figure("Duration p50", duration(whole.p50_seconds), "half took less"),
        Figure("Duration p95", duration(whole.p95_seconds), "one of 20 took longer"),
        Figure("Duration p99", duration(whole.p99_seconds), "one of 100 took longer"),
        Figure(
            "Oldest in queue",
            duration(now.oldest_queued_seconds),
            f"{number(now.queued_attempts)} queued, {number(now.running_attempts)} running now",
        ),
    ]


def _active(statistics: Statistics) -> list[ActiveStatus]:
    order = {status: place for place, status in enumerate(EXECUTION)}
    found = sorted(statistics.now.active.items(), key=lambda one: order.get(one[0], len(order)))
    return [
        ActiveStatus(execution_look(status), count, f"/executions?status={status}")
        for status, count in found
        if count
    ]


def _drawings(statistics: Statistics) -> list[Drawing]:
    series = statistics.series
    if not series:
        return []
    return [_ended(series), _durations(series), _queued(series)]


def _ended(series: Sequence[Point]) -> Drawing:
    bars = charts.stacked(
        [[("ok", float(one.completed)), ("wait", float(one.other))] for one in series],
        [("fail", float(one.failed)) for one in series],
        [_told(one) for one in series],
    )
    completed, failed = sum(one.completed for one in series), sum(one.failed for one in series)
    other = sum(one.other for one in series)
    return Drawing(
        "Ended executions",
        f"{number(completed)} completed, {number(failed)} failed, {number(other)} cancelled",
        number(bars.most),
        series[0].begin,
        series[-1].end,
        bars,
        None,
        [("ok", "completed", False), ("wait", "cancelled", False), ("fail", "failed", False)],
    )


def _told(one: Point) -> str:
    span = f"{one.begin:%d %b %H:%M}\N{EN DASH}{one.end:%H:%M} UTC"
    return f"{span}: {one.completed} completed, {one.failed} failed, {one.other} cancelled"


def _durations(series: Sequence[Point]) -> Drawing:
    half, most = [one.p50_seconds for one in series], [one.p95_seconds for one in series]
    top = charts.highest(half, most)
    lines = [
        charts.line("p50", "run", half, top),
        charts.line("p95", "person", most, top, dashed=True),
    ]
    return Drawing(
        "Duration",
        f"p50 and p95 of the durations; the highest is {duration(top)}",
        duration(top),
        series[0].begin,
        series[-1].end,
        None,
        charts.Lines(lines, len(series) * charts.SPAN, top),
        [("run", "p50", False), ("person", "p95", True)],
    )


def _queued(series: Sequence[Point]) -> Drawing:
    values = [one.avg_queue_seconds for one in series]
    top = charts.highest(values)
    return Drawing(
        "Time in queue",
        f"mean time from admission to start; the highest is {duration(top)}",
        duration(top),
        series[0].begin,
        series[-1].end,
        None,
        charts.Lines([charts.line("mean", "run", values, top)], len(series) * charts.SPAN, top),
        [("run", "mean", False)],
    )


def _row(one: Figures, tool_path: str | None) -> FigureRow:
    href = None
    if one.name is not None and tool_path is not None:
        href = f"{tool_path}{one.name}"
    return FigureRow(
        one.name or "Plans without a name",
        href,
        one.count,
        rate(one.success_rate),
        rate_tone(one.success_rate),
        duration(one.p50_seconds),
        duration(one.p95_seconds),
        duration(one.p99_seconds),
        duration(one.avg_queue_seconds),
        None if one.sla_compliance is None else rate(one.sla_compliance),
    )


def _component(one: ComponentHealth) -> Component:
    return Component(one.name, look_of(HEALTH, one.status), one.message)
