"""No text of a plan holds up the check of a pattern: its time grows with the text, no faster.

The router checks what anybody sends. A pattern that can match one text in many ways tries all of
them on a text that fits to its last character: with sixty characters it may take for ever.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator

import pytest

from toolmeta import registry
from toolmeta.formats import FORMATS
from toolmeta.parameters import MAX_STRING, Shape

#: What patterns are made of: letters in both cases, digits, and the signs that separate them.
_SIGNS = "aA1 -_./:=,@\\"
_PUMPS = [*_SIGNS, *(a + b for a, b in itertools.permutations("a1-./", 2))]
_LENGTH = 2_000
#: How often a pump stands first; a pattern with an exponential time takes seconds for it.
_FEW = 24
_SECONDS = 0.1


def _shapes(shape: Shape) -> Iterator[Shape]:
    yield shape
    for inner in (shape.items, shape.values):
        if inner is not None:
            yield from _shapes(inner)


def _patterns() -> dict[str, int]:
    """Each pattern of a definition, and the length of the longest text that it is given."""
    found: dict[str, int] = {}
    for tool in registry.load().all():
        for parameter in tool.parameters.values():
            for shape in _shapes(parameter):
                if shape.pattern is not None:
                    longest = max(found.get(shape.pattern, 0), shape.max_length or MAX_STRING)
                    found[shape.pattern] = longest
    return found


def _beginnings(pattern: str) -> tuple[str, ...]:
    """Beginnings that bring the match to the parts that repeat."""
    words = re.findall(r"[a-z]{3,}", pattern)[:3]
    return ("", "-", "--", "/", "a", "://", *words)


def _slowest(accepts: Callable[[str], object], beginnings: tuple[str, ...], longest: int) -> float:
    slowest = 0.0
    for beginning, pump in itertools.product(beginnings, _PUMPS):
        for length in (_FEW * len(pump), longest):
            text = (beginning + pump * (length // len(pump)))[: longest - 1] + "\x01"
            began = time.process_time()
            accepts(text)
            slowest = max(slowest, time.process_time() - began)
            if slowest > _SECONDS:
                return slowest
    return slowest


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_takes_no_time(name: str) -> None:
    assert _slowest(FORMATS[name].accepts, _beginnings(""), _LENGTH) < _SECONDS


@pytest.mark.parametrize(("pattern", "longest"), _patterns().items(), ids=str)
def test_a_pattern_takes_no_time(pattern: str, longest: int) -> None:
    matcher = re.compile(pattern).fullmatch
    assert _slowest(matcher, _beginnings(pattern), min(longest, _LENGTH)) < _SECONDS
