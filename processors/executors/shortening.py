"""An output that is too large, shortened: of every large field its beginning is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from processors.executors import jsonable
from streams.truncation import (
    FIELDS,
    MOST_NAMED,
    TRUNCATED,
    WHOLE_OUTPUT,
    Kept,
    part_of,
    shortened_fields,
)

#: Of the limit, what the names of the shortened fields may take.
_NAMES_SHARE: Final = 8
#: What an entry takes beside its path.
_ENTRY_BYTES: Final = 64
_PATH_BYTES: Final = 256
#: An object whose fields would get less than this each keeps as many of them as fit.
_LEAST_SHARE: Final = 256
#: `truncated`, the braces, and the name of the fields' map.
_FRAME_BYTES: Final = 64


def encode(value: Mapping[str, Any], limit: int) -> bytes:
    """The JSON text of `value`, shortened where it has more than `limit` bytes (1 KiB or more)."""
    whole = jsonable.dump(value)
    if len(whole) <= limit:
        return whole
    return orjson.dumps(shortened(orjson.loads(whole), limit))


def shortened(output: dict[str, Any], limit: int) -> dict[str, Any]:
    """`output`, plain JSON of more than `limit` bytes, within `limit` bytes; 1 KiB or more.

    Small fields are kept whole; the large ones share what is left, and of each the beginning
    stays: the first items of a list, the first characters of a text. Which ones these are, and how
    much of each was kept, stands in the result (`streams.truncation`). The same output gives the
    same result.
    """
    cut = _Cut(limit // _NAMES_SHARE, shortened_fields(output))
    plain = {name: value for name, value in output.items() if name not in (TRUNCATED, FIELDS)}
    room = limit - limit // _NAMES_SHARE - _FRAME_BYTES
    kept = cut.of(plain, _size(plain), room, "")
    result: dict[str, Any] = kept if isinstance(kept, dict) else {}
    fields = {path: entry._asdict() for path, entry in cut.fields.items()}
    return {**result, TRUNCATED: True, FIELDS: fields}


class _Cut:
    """What was shortened so far."""

    def __init__(self, names_bytes: int, before: Mapping[str, Kept]) -> None:
        self.fields: dict[str, Kept] = {}
        self._names_left = names_bytes
        # How much there was at first is known only from the one who shortened it first.
        for path, entry in before.items():
            if self._named(path):
                self.fields[path] = entry

    def _named(self, path: str, of: int = 0) -> bool:
        """Enter the field at `path`, which has `of` parts, where there is room for its name."""
        if path in self.fields:
            return True
        size = _size(path) + _ENTRY_BYTES
        if size > _PATH_BYTES or size > self._names_left or len(self.fields) >= MOST_NAMED:
            return False
        self._names_left -= size
        self.fields[path] = Kept(0, of)
        return True

    def _keep(self, path: str, kept: int) -> None:
        self.fields[path] = self.fields[path]._replace(kept=kept)

    def of(self, value: Any, size: int, room: int, path: str) -> Any:
        """`value` in at most `room` bytes; None where nothing of it can be kept."""
        if size <= room:
            return value
        if isinstance(value, str) and self._named(path, len(value)):
            text = jsonable.cut(value, max(room - 2, 0))
            self._keep(path, len(text))
            return text
        if isinstance(value, list) and self._named(path, len(value)):
            return self._items(value, room, path)
        if isinstance(value, dict) and room >= _LEAST_SHARE * len(value):
            return self._fields(value, room, path)
        if isinstance(value, dict) and self._named(path or WHOLE_OUTPUT, len(value)):
            return self._first_fields(value, room, path or WHOLE_OUTPUT)
        return None

    def _items(self, items: list[Any], room: int, path: str) -> list[Any]:
        kept: list[Any] = []
        left = room - 2
        for item in items:
            left -= _size(item) + 1
            if left < 0:
                break
            kept.append(item)
        if not kept and items:
            first = self.of(items[0], _size(items[0]), room - 2, f"{path}[0]")
            kept = [] if first is None else [first]
        if len(kept) < len(items):
            self._keep(path, len(kept))
        elif self.fields[path].kept == 0:
            del self.fields[path]  # all items are there, of one the beginning
        return kept

    def _fields(self, value: Mapping[str, Any], room: int, path: str) -> dict[str, Any]:
        """The small ones first, so that what they leave of their share is for the large ones."""
        sizes = {name: _size(item) for name, item in value.items()}
        left = room - 2 - sum(_size(name) + 2 for name in sizes)
        kept: dict[str, Any] = {}
        for count, name in enumerate(sorted(sizes, key=lambda name: sizes[name])):
            share = left // (len(sizes) - count)
            item = self.of(value[name], sizes[name], share, part_of(path, name))
            if item is not None or value[name] is None:
                kept[name] = item
                left -= min(sizes[name], share)
        return {name: kept[name] for name in value if name in kept}

    def _first_fields(self, value: Mapping[str, Any], room: int, path: str) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        left = room - 2
        for name, item in value.items():
            left -= _size(name) + _size(item) + 2
            if left < 0:
                break
            kept[name] = item
        self._keep(path, len(kept))
        return kept


def _size(value: Any) -> int:
    return len(orjson.dumps(value))
