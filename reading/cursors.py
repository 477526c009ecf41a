"""Cursors: where the next page of a list begins, as opaque text; pure.

A cursor says the place of the last row, not its number, so rows that come meanwhile repeat nothing.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

#: Longer than any that is made here, a step's name with 128 characters of four bytes included.
MAX_CURSOR: Final = 1_500


class CursorError(ValueError):
    """The text is no cursor of this list."""


def encode(kind: str, *place: str | int | None) -> str:
    """The cursor of a place; `kind` names the list."""
    return base64.urlsafe_b64encode(orjson.dumps([kind, *place])).decode().rstrip("=")


def decode(kind: str, text: str, *types: type | tuple[type, ...]) -> list[Any]:
    """The place in a cursor, which must have values of these types; raises CursorError."""
    wrong = CursorError("it is no cursor of this list: take `next` of the page before, unchanged")
    if len(text) > MAX_CURSOR or not text.isascii():
        raise wrong
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = orjson.loads(raw)
    except (ValueError, binascii.Error):
        raise wrong from None
    if not isinstance(found, list) or found[:1] != [kind] or len(found) != len(types) + 1:
        raise wrong
    place = found[1:]
    for value, wanted in zip(place, types, strict=True):
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise wrong
        if isinstance(value, str) and "\0" in value:
            raise wrong
        if isinstance(value, int) and abs(value) > 2**62:
            raise wrong
    return place


def moment(text: str) -> datetime:
    """The moment in a cursor; raises CursorError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CursorError("it is no cursor of this list") from None
    if found.tzinfo is None:
        raise CursorError("it is no cursor of this list")
    return found


def ident(text: str) -> str:
    """The UUID in a cursor; raises CursorError."""
    try:
        return str(UUID(text))
    except ValueError:
        raise CursorError("it is no cursor of this list") from None
