"""Dead letters as their templates show them."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode

from reading.models.dead_letters import (
    Content,
    DeadLetter,
    DeadLetterCounts,
    DeadLetterGroup,
    DeadLetterPage,
    DeadLetterSummary,
)
from web.views import charts
from web.wording import counted, number

#: The ranges: what each is called, how long it is, and the spans of a sparkline.
RANGES: Final[dict[str, tuple[str, timedelta, int]]] = {
    "1h": ("Last hour", timedelta(hours=1), 30),
    "24h": ("Last 24 hours", timedelta(hours=24), 24),
    "7d": ("Last 7 days", timedelta(days=7), 28),
    "30d": ("Last 30 days", timedelta(days=30), 30),
}
DEFAULT_RANGE: Final = "7d"
#: What a class is called where a record has none.
NO_CLASS: Final = "without a class"
#: Bytes in a line of a hex dump, and lines of one.
_HEX_WIDTH: Final = 16
_HEX_LINES: Final = 256


@dataclass(frozen=True, slots=True)
class LetterFilters:
    """What the dead letters are narrowed to; empty text: not at all."""

    since: str = DEFAULT_RANGE
    topic: str = ""
    error_class: str = ""
    execution: str = ""

    def query(self, after: str | None = None) -> str:
        """The address of the page from its `?` on."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        given = {name: value for name, value in given.items() if value}
        if given.get("since") == DEFAULT_RANGE:
            del given["since"]
        if after:
            given["after"] = after
        return f"?{urlencode(given)}" if given else ""

    @property
    def length(self) -> timedelta:
        """How long the range is."""
        return RANGES[self.since][1]

    @property
    def spans(self) -> int:
        """How many numbers a sparkline has."""
        return RANGES[self.since][2]


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Dead letters of one topic and class."""

    topic: str
    error_class: str
    count: int
    last_at: datetime
    bars: charts.Bars
    told: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class LetterRow:
    """One dead letter in the list."""

    letter: DeadLetterSummary
    href: str
    #: Such as `execution.requests 3:1204`.
    source: str | None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The page of the dead letters."""

    filters: LetterFilters
    ranges: list[tuple[str, str, bool]]
    groups: list[GroupRow]
    rows: list[LetterRow]
    total: int
    shown: str
    first: str | None
    older: str | None
    narrowed: bool
    redrive: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A key or value as it is shown and copied."""

    text: str
    #: JSON, text, hex or nothing.
    form: str
    size: int
    complete: bool
    copied: str


@dataclass(frozen=True, slots=True)
class LetterView:
    """The page of one dead letter."""

    letter: DeadLetter
    key: Shown | None
    value: Shown | None
    place: str
    source: str | None
    path: str
    execution_href: str | None


def dead_letters(
    page: DeadLetterPage,
    counts: DeadLetterCounts,
    filters: LetterFilters,
    after: str | None,
) -> DeadLetters:
    """The page of these dead letters."""
    matching = [one for one in counts.groups if _matches(one, filters)]
    total = sum(one.count for one in matching)
    return DeadLetters(
        filters=filters,
        ranges=[
            (f"/dead-letters{replace(filters, since=key).query()}", text, key == filters.since)
            for key, (text, _, _) in RANGES.items()
        ],
        groups=[_group(one, filters) for one in counts.groups],
        rows=[letter_row(one) for one in page.letters],
        total=total,
        shown=f"{number(len(page.letters))} shown, newest first",
        first=f"/dead-letters{filters.query()}" if after else None,
        older=f"/dead-letters{filters.query(page.next)}" if page.next else None,
        narrowed=bool(filters.topic or filters.error_class or filters.execution),
        redrive=f"/dead-letters/redrive{filters.query()}",
    )


def letter_view(letter: DeadLetter) -> LetterView:
    """The page of this dead letter."""
    return LetterView(
        letter=letter,
        key=None if letter.key is None else shown(letter.key),
        value=None if letter.value is None else shown(letter.value),
        place=f"{letter.topic} {letter.partition}:{letter.offset}",
        source=_source(letter),
        path=_path(letter),
        execution_href=f"/executions/{letter.execution_id}" if letter.execution_id else None,
    )


def shown(content: Content) -> Shown:
    """JSON with its indentation, other text as it is, and bytes that are no text as hex."""
    if content.encoding == "base64":
        return Shown(_hex(content.text), "hex", content.bytes, content.complete, content.text)
    pretty = _pretty(content.text) if content.complete else None
    return Shown(
        pretty or content.text,
        "text" if pretty is None else "JSON",
        content.bytes,
        content.complete,
        content.text,
    )


def _pretty(text: str) -> str | None:
    """JSON with indentation, where that changes nothing but white space."""
    if text[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    bare = "".join(text.split())
    for plain in (False, True):
        found = json.dumps(value, ensure_ascii=plain, indent=2)
        if "".join(found.split()) == bare:
            return found
    return None


def _hex(encoded: str) -> str:
    try:
        raw = base64.b64decode(encoded)
    except binascii.Error:
        return encoded
    lines = []
    for begin in range(0, min(len(raw), _HEX_LINES * _HEX_WIDTH), _HEX_WIDTH):
        part = raw[begin : begin + _HEX_WIDTH]
        letters = "".join(chr(one) if 32 <= one < 127 else "." for one in part)
        lines.append(f"{begin:06x}  {part.hex(' '):<47}  {letters}")
    return "\n".join(lines)


def _matches(group: DeadLetterGroup, filters: LetterFilters) -> bool:
    return (not filters.topic or group.topic == filters.topic) and (
        not filters.error_class or group.error_class == filters.error_class
    )


def _group(group: DeadLetterGroup, filters: LetterFilters) -> GroupRow:
    current = filters.topic == group.topic and filters.error_class == (group.error_class or "")
    chosen = replace(filters, topic=group.topic, error_class=group.error_class or "")
    without = replace(filters, topic="", error_class="")
    return GroupRow(
        topic=group.topic,
        error_class=group.error_class or NO_CLASS,
        count=group.count,
        last_at=group.last_at,
        bars=charts.sparkline(group.series),
        told=f"{counted(group.count, 'record')}; at most {max(group.series, default=0)} in a span",
        href=f"/dead-letters{(without if current else chosen).query()}",
        current=current,
    )


def letter_row(letter: DeadLetterSummary) -> LetterRow:
    """One dead letter in a list."""
    return LetterRow(letter, _path(letter), _source(letter))


def _path(letter: DeadLetterSummary) -> str:
    return f"/dead-letters/{quote(letter.topic, safe='')}/{letter.partition}/{letter.offset}"


def _source(letter: DeadLetterSummary) -> str | None:
    if letter.source_topic is None:
        return None
    if letter.source_partition is None or letter.source_offset is None:
        return letter.source_topic
    return f"{letter.source_topic} {letter.source_partition}:{letter.source_offset}"
