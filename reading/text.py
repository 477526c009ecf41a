"""Texts and numbers for people."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

#: What must not reach a terminal: control characters (C1 included), the marks, embeddings and
#: isolates that turn the direction of text, other line separators, and lone surrogates, which no
#: encoding has. Line feed and tab are text.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: object) -> str:
    """`text` with a replacement character for everything that could control a terminal."""
    return _CONTROL.sub("\ufffd", str(text).replace("\r\n", "\n"))


def json_text(document: Any, indent: int | None = None) -> str:
    """The document as JSON that controls no terminal: the same value, such characters escaped."""
    text = json.dumps(document, ensure_ascii=False, indent=indent, default=str)
    # Outside of strings JSON has none of these characters, and inside an escape means the same.
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: object, limit: int = 200) -> str:
    """`text` on one line, cut with an ellipsis after `limit` characters."""
    line = " ".join(plain(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def seconds(value: float | None) -> str:
    """A duration: `12 ms`, `1.3 s`, `2 min 05 s`, `1 h 02 min`."""
    if value is None:
        return "-"
    if value < 1:
        return f"{max(value, 0) * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def size(count: int) -> str:
    """A number of bytes."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def timestamp(value: datetime | None) -> str:
    """Date and time in UTC, to the second."""
    return "-" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def clock(unix_seconds: float) -> str:
    """The time of day in UTC, with milliseconds."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%H:%M:%S.%f")[:-3]


def count(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def people(number: int) -> str:
    """`one person` or `3 people`."""
    return "one person" if number == 1 else f"{number} people"


def counts(numbers: dict[str, int]) -> str:
    """Numbers by status, successes first: `3 succeeded, 1 timed out`."""
    ordered = sorted(numbers.items(), key=lambda item: (item[0] != "succeeded", item[0]))
    return ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in ordered)


def brief(output: Any, limit: int = 120) -> str:
    """The output of a step, on one line: the plain values of a mapping, or the text itself."""
    if output is None:
        return ""
    if not isinstance(output, dict):
        return one_line(output, limit)
    parts: list[str] = []
    for key, value in output.items():
        if isinstance(value, list):
            parts.append(f"{key}: {count(len(value), 'item')}")
        elif isinstance(value, dict):
            parts.append(f"{key}: {count(len(value), 'field')}")
        elif value is not None and value != "":
            parts.append(f"{key}={one_line(value, 60)}")
    return one_line(", ".join(parts), limit)
