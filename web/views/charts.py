"""Charts: the places of bars and lines in an SVG, which the server draws; pure.

A chart is `HEIGHT` high and `SPAN` wide for each span; its template stretches it to the page. What
differs by colour differs by place or by dashes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from web.statuses import Tone

HEIGHT: Final = 100.0
SPAN: Final = 10.0
_GAP: Final = 2.0
#: The least height of a bar that is not nothing.
_LEAST: Final = 1.5


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bar."""

    tone: Tone
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One span; `title` is told when it is pointed at."""

    x: float
    width: float
    parts: list[Part]
    title: str


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars that grow up from a line, and down from it where the second number is given."""

    bars: list[Bar]
    width: float
    #: Where the line is.
    zero: float
    #: The highest number above the line.
    most: float


@dataclass(frozen=True, slots=True)
class Line:
    """One number over the spans, in pieces where it is not known in between."""

    name: str
    tone: Tone
    dashed: bool
    #: The `points` of polylines.
    pieces: list[str]
    #: Spans whose neighbours are not known: a point is no line.
    dots: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over the same spans."""

    lines: list[Line]
    width: float
    most: float


def stacked(
    above: Sequence[Sequence[tuple[Tone, float]]],
    below: Sequence[tuple[Tone, float]],
    titles: Sequence[str],
) -> Bars:
    """Bars of parts above the line, the first one nearest to it, and one part below it."""
    up = max((sum(value for _, value in parts) for parts in above), default=0.0)
    down = max((value for _, value in below), default=0.0)
    scale = HEIGHT / (up + down) if up + down else 0.0
    zero = up * scale if up + down else HEIGHT
    bars = []
    for place, (parts, (tone, under), title) in enumerate(zip(above, below, titles, strict=True)):
        drawn: list[Part] = []
        top = zero
        for part_tone, value in parts:
            if value:
                height = max(value * scale, _LEAST)
                top -= height
                drawn.append(Part(part_tone, round(max(top, 0.0), 2), round(height, 2)))
        if under:
            height = max(under * scale, _LEAST)
            drawn.append(Part(tone, round(min(zero, HEIGHT - height), 2), round(height, 2)))
        bars.append(Bar(place * SPAN + _GAP / 2, SPAN - _GAP, drawn, title))
    return Bars(bars, max(len(bars), 1) * SPAN, round(zero, 2), up)


def sparkline(series: Sequence[int], tone: Tone = "fail") -> Bars:
    """Small bars of one series."""
    nothing: tuple[Tone, float] = (tone, 0.0)
    return stacked(
        [[(tone, float(value))] for value in series],
        [nothing] * len(series),
        [str(value) for value in series],
    )


def line(
    name: str, tone: Tone, values: Sequence[float | None], most: float, *, dashed: bool = False
) -> Line:
    """One line; `most` is at the top of the chart."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            pieces.append([])
            continue
        y = HEIGHT - (min(value / most, 1.0) * HEIGHT if most else 0.0)
        pieces[-1].append((round(place * SPAN + SPAN / 2, 2), round(y, 2)))
    return Line(
        name,
        tone,
        dashed,
        [" ".join(f"{x},{y}" for x, y in piece) for piece in pieces if len(piece) > 1],
        [piece[0] for piece in pieces if len(piece) == 1],
    )


def highest(*series: Sequence[float | None]) -> float:
    """The highest of all numbers; 0 where there is none."""
    return max((value for values in series for value in values if value is not None), default=0.0)
