"""A value as a tree that can be folded, bounded in what it shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

#: Children that one value shows, and values that one tree shows.
MOST_CHILDREN: Final = 200
_MOST_VALUES: Final = 2_000
_MOST_TEXT: Final = 4_000
_MOST_DEPTH: Final = 30


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value without parts, or one that is cut off."""

    key: str | None
    #: string, number, word (true, false, null) or more.
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A list or an object."""

    key: str | None
    #: As `3 items`.
    summary: str
    open: bool
    children: list[Leaf | Branch]


def tree(value: Any, *, open_to: int = 2) -> Leaf | Branch:
    """The tree of a JSON value; the upper levels are open."""
    left = [_MOST_VALUES]
    return _make(None, value, 0, open_to, left)


def _make(key: str | None, value: Any, depth: int, open_to: int, left: list[int]) -> Leaf | Branch:
    left[0] -= 1
    if not isinstance(value, (dict, list)):
        return _leaf(key, value)
    if not value:
        return Leaf(key, "word", "{}" if isinstance(value, dict) else "[]")
    if depth >= _MOST_DEPTH or left[0] <= 0:
        return Leaf(key, "more", "…")
    items = (
        [(str(name), item) for name, item in value.items()]
        if isinstance(value, dict)
        else [(str(number), item) for number, item in enumerate(value)]
    )
    children: list[Leaf | Branch] = []
    for name, item in items[:MOST_CHILDREN]:
        if left[0] <= 0:
            break
        children.append(_make(name, item, depth + 1, open_to, left))
    if len(children) < len(items):
        children.append(Leaf(None, "more", f"… {len(items) - len(children)} more"))
    noun = "field" if isinstance(value, dict) else "item"
    summary = f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
    return Branch(key, summary, depth < open_to and len(items) <= 50, children)


def _leaf(key: str | None, value: Any) -> Leaf:
    if isinstance(value, str):
        cut = value if len(value) <= _MOST_TEXT else f"{value[:_MOST_TEXT]}…"
        return Leaf(key, "string", cut)
    if value is None or isinstance(value, bool):
        return Leaf(key, "word", json.dumps(value))
    return Leaf(key, "number", json.dumps(value, default=str))
