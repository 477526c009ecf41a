"""What a put would change, or has changed, as a unified diff of bounded size. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Final

from drivers.files.limits import MOST_DIFF_CHARACTERS, MOST_DIFFED_BYTES

#: Of each text, without what both begin and end with: the comparison takes their product.
_MOST_LINES: Final = 1_000
_CONTEXT: Final = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """A diff, or why there is none."""

    text: str | None = None
    left_out: str | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """For the output of the step."""
        pairs = {"diff": self.text, "diff_left_out": self.left_out}
        return {name: value for name, value in pairs.items() if value is not None}


def may_show(
    asked: bool | None, *, secrets: bool, old_mode: int | None, new_mode: int
) -> str | None:
    """Why no diff may be shown, None where one may.

    What only some users of the machine may read belongs into no topic, unless the plan asks for it;
    what a secret stands in never does.
    """
    if asked is False:
        return "not asked for"
    if secrets:
        return "the content has a secret"
    if asked is None and not new_mode & (4 if old_mode is None else old_mode) & 0o004:
        return "not everybody may read the file; `diff: true` shows it"
    return None


def unified(old: bytes | None, new: bytes, path: str) -> Shown:
    """From the old text to the new one; None is no file."""
    if len(new) > MOST_DIFFED_BYTES or len(old or b"") > MOST_DIFFED_BYTES:
        return Shown(left_out=f"more than {MOST_DIFFED_BYTES} bytes")
    try:
        before, after = (_lines((data or b"").decode("utf-8")) for data in (old, new))
    except UnicodeDecodeError:
        return Shown(left_out="not text in UTF-8")
    if any("\0" in line for line in (*before, *after)):
        return Shown(left_out="not text in UTF-8")
    start, end = _alike(before, after)
    kept = max(0, start - _CONTEXT)
    until = max(0, end - _CONTEXT)
    first, second = before[kept : len(before) - until], after[kept : len(after) - until]
    if max(len(first), len(second)) > _MOST_LINES + 2 * _CONTEXT:
        return Shown(left_out=f"more than {_MOST_LINES} lines are concerned")
    head = [f"--- {path if old is not None else '/dev/null'}", f"+++ {path}"]
    rows = list(difflib.unified_diff(first, second, n=_CONTEXT, lineterm=""))[2:]
    if kept:
        rows = [_moved(row, kept) for row in rows]
    text = "\n".join([*head, *rows, ""])
    if len(text) > MOST_DIFF_CHARACTERS:
        return Shown(text[:MOST_DIFF_CHARACTERS], f"cut at {MOST_DIFF_CHARACTERS} characters")
    return Shown(text)


def _lines(text: str) -> list[str]:
    """The lines; one without a line break at the end of the text says so, as `diff` does."""
    lines = text.split("\n")
    last = lines.pop()
    return lines if not last else [*lines, f"{last}\n\\ No newline at end of file"]


def _alike(before: list[str], after: list[str]) -> tuple[int, int]:
    """How many lines both begin and end with."""
    start, most = 0, min(len(before), len(after))
    while start < most and before[start] == after[start]:
        start += 1
    end = 0
    while end < most - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, end


def _moved(row: str, lines: int) -> str:
    """The head of a part, counted from the beginning of the file."""
    if not row.startswith("@@ "):
        return row
    marks = row.split(" ")
    return " ".join(("@@", *(_later(mark, lines) for mark in marks[1:3]), "@@"))


def _later(mark: str, lines: int) -> str:
    number, comma, count = mark[1:].partition(",")
    return f"{mark[0]}{int(number) + lines}{comma}{count}"
