"""Finds the forms of secrets in output: one automaton, so the time is linear in the output."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Final

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from drivers.secret_forms import Forms, forms_of

Span = tuple[int, int]

_HEAD: Final = 4
_KEY: Final = 256
#: A line of base64 or hexadecimal is at least as long as this.
_ENCODED_LINE: Final = 16
_ENCODED: Final = rb"[A-Za-z0-9+/_=-]"
#: The end of a line, as it is or escaped, and the indentation of the next one. The end of the data
#: may cut an escaped one in two.
_END: Final = rb"(?:(?<=[\r\n])|(?<=\\)(?:[rn]|\Z))(?:[\r\n]|\\[rn])*[ \t]*"
_BREAK: Final = re.compile(rb"[\r\n\\](?<=" + _ENCODED * _ENCODED_LINE + rb".)" + _END, re.DOTALL)
#: At the very beginning the rest of the line may have been published already.
_FIRST_BREAK: Final = re.compile(_ENCODED + rb"{1,15}([\r\n\\]" + _END + rb")")


class _Automaton:
    """A set of byte strings."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._sorted = sorted(forms)
        self.longest = max(map(len, self._sorted))
        #: A long form is found by its beginning, since an automaton of all of it is large.
        self._keys = sorted({form[:_KEY] for form in self._sorted})
        self._all = BytesAhoCorasick(self._keys, matchkind=MatchKind.LeftmostLongest)
        heads = sorted({form[:_HEAD] for form in self._sorted})
        self._heads = BytesAhoCorasick(heads)

    def spans(self, data: bytes) -> list[Span]:
        """Where one of them is, from the left, the longest at each place."""
        found: list[Span] = []
        reached = 0
        for index, start, end in self._all.find_matches_as_indexes(data):
            if start < reached:
                continue
            reached = max(end, start + self._length(index, data, start))
            found.append((start, reached))
        return found

    def _length(self, index: int, data: bytes, start: int) -> int:
        """How much of a form that begins with this key is at `start`; 0 where the key is one."""
        key = self._keys[index]
        longest = 0
        if len(key) == _KEY:
            for at in range(bisect_left(self._sorted, key), len(self._sorted)):
                form = self._sorted[at]
                if not form.startswith(key):
                    break
                there = zip(form, data[start : start + len(form)], strict=False)
                longest = max(
                    longest, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], there))
                )
        return longest

    def held(self, data: bytes) -> int:
        """Bytes at the end of `data` that are the beginning of one, and not yet all of it."""
        tail = data[-(self.longest - 1) :]
        found = self._heads.find_matches_as_indexes(tail, overlapping=True)
        short = range(max(0, len(tail) - _HEAD + 1), len(tail))
        for start in (*(start for _, start, _ in found), *short):
            rest = tail[start:]
            at = bisect_right(self._sorted, rest)
            if at < len(self._sorted) and self._sorted[at].startswith(rest):
                return len(rest)
        return 0


class Matcher:
    """The forms of some secrets; immutable, for any thread."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Compiles them; a secret that is too short has no forms."""
        found = [forms_of(secret) for secret in secrets]
        self.forms = Forms(
            frozenset().union(*(one.plain for one in found)),
            frozenset().union(*(one.wrapped for one in found)),
        )
        every = self.forms.plain | self.forms.wrapped
        self._every = _Automaton(every) if every else None
        self._wrapped = _Automaton(self.forms.wrapped) if self.forms.wrapped else None

    def __bool__(self) -> bool:
        return self._every is not None

    def spans(self, data: bytes) -> list[Span]:
        """Where secrets are in `data`: in order, none overlapping another."""
        if self._every is None:
            return []
        found = self._every.spans(data)
        view = _View(data) if self._wrapped is not None else None
        if view is None or self._wrapped is None or not view.breaks:
            return found
        over = [view.span(*span) for span in self._wrapped.spans(view.data)]
        return _merged(found, over) if over else found

    def held(self, data: bytes) -> int:
        """Bytes at the end of `data` that may begin a secret, which more data would complete."""
        if self._every is None:
            return 0
        held = self._every.held(data)
        if self._wrapped is None:
            return held
        # As many line ends as bytes are possible at most, and more than a few are not usual.
        tail = data[-4 * self._wrapped.longest - _ENCODED_LINE :]
        view = _View(tail)
        if not view.breaks:
            return held
        over = self._wrapped.held(view.data)
        if over == 0:
            return held
        start, _ = view.span(len(view.data) - over, len(view.data))
        return max(held, len(tail) - start)


class _View:
    """Data without the line ends that are inside an encoded text."""

    def __init__(self, data: bytes) -> None:
        kept: list[bytes] = []
        #: Of each line end: where it would be in the view, and where it ends in the data.
        self.breaks: list[int] = []
        self._ends: list[int] = []
        at = size = 0
        for start, end in _line_ends(data):
            kept.append(data[at:start])
            size += start - at
            self.breaks.append(size)
            self._ends.append(end - size)
            at = end
        self.data = b"".join((*kept, data[at:])) if kept else data

    def span(self, start: int, end: int) -> Span:
        """The part of the data that a non-empty part of the view was."""
        first = bisect_right(self.breaks, start)
        last = bisect_left(self.breaks, end)
        return (
            start + (self._ends[first - 1] if first else 0),
            end + (self._ends[last - 1] if last else 0),
        )


def _line_ends(data: bytes) -> Iterator[Span]:
    first = _FIRST_BREAK.match(data)
    if first is not None:
        yield first.span(1)
    for found in _BREAK.finditer(data):
        yield found.span()


def _merged(*lists: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(span for spans in lists for span in spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
