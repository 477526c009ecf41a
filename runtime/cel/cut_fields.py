"""References to what an output has only the beginning of: refused by name, never a part for all.

An item that was kept may be referred to (`steps.log.output.lines[0]`), and so may the output as a
whole, which says itself what it lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from runtime.cel.evaluation import Spent
from streams.truncation import TRUNCATED, WHOLE_OUTPUT, Kept, part_of, shortened_fields

#: A name, an index or a quoted name of a path.
Part = str | int

_PART: Final = re.compile(r"\[(\d+)\]|\[\"([^\"\]]+)\"\]|([^.\[\]]+)")


@lru_cache(maxsize=4_096)
def parts_of(path: str) -> tuple[Part, ...]:
    """The parts of a path such as `json.rows[0]["odd name"]`."""
    return tuple(
        int(index) if index else quoted or name for index, quoted, name in _PART.findall(path)
    )


def refusal(parts: Sequence[Part], context: dict[str, Any], spent: Spent) -> str | None:
    """Why the value at this path is not all there was; None where it is, or there is none.

    Each field that was cut counts as one lookup more.
    """
    for position, value in _on_the_way(parts, context):
        for cut, kept in shortened_fields(value).items():
            spent.lookups += 1
            if _reaches(parts[position:], parts_of(cut)):
                return _sentence(parts[:position], cut, kept)
    return None


def hint(parts: Sequence[Part], context: dict[str, Any]) -> str:
    """For a part that is not there: what was cut, where that may be the reason; begins with `;`."""
    found = ""
    for position, value in _on_the_way(parts, context):
        for cut, kept in shortened_fields(value).items():
            if cut == WHOLE_OUTPUT or _reaches(parts_of(cut), parts[position:]):
                found = f"; the output was cut: {kept} were kept"
        if isinstance(value, dict) and value.get(TRUNCATED) is True:
            found = found or "; the output was cut"
    return found


def _on_the_way(parts: Sequence[Part], context: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """What each part of the path is looked up in, as far as there is something."""
    value: Any = context
    for position, part in enumerate(parts):
        yield position, value
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return


def without_cut(step: Any) -> Any:
    """A step for CEL: what an output has only the beginning of is absent, in its items' too."""
    output = step.get("output") if isinstance(step, dict) else None
    if not isinstance(output, dict):
        return step
    items = output.get("items")
    left = _without_cut(output)
    if isinstance(items, list) and left.get("items") is items:
        left = {**left, "items": [_without_cut(item) for item in items]}
    return {**step, "output": left}


def _without_cut(output: Any) -> Any:
    for cut in shortened_fields(output):
        output = _without(output, parts_of(cut))
    return output


def _without(value: Any, parts: Sequence[Part]) -> Any:
    head, rest = parts[0], parts[1:]
    if isinstance(value, dict) and head in value:
        if rest:
            return {**value, head: _without(value[head], rest)}
        return {name: item for name, item in value.items() if name != head}
    if isinstance(value, list) and isinstance(head, int) and head < len(value):
        copy = [*value]
        copy[head] = _without(value[head], rest) if rest else None
        return copy
    return value


def _reaches(parts: Sequence[Part], inner: Sequence[Part]) -> bool:
    """Whether the value at `inner` is the one at `parts`, or within it."""
    return tuple(inner[: len(parts)]) == tuple(parts)


def path_of(parts: Sequence[Part]) -> str:
    """The path that these parts spell."""
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else part_of(path, part)
    return path


def _sentence(place: Sequence[Part], cut: str, kept: Kept) -> str:
    return (
        f"{cut} of {path_of(place)} was cut: {kept} are in the result, the rest is on "
        "execution.output. Let the tool select less, or refer to an item that was kept"
    )
