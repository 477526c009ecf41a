"""The values of Kubernetes Secrets in a manifest that is a secret: masked one by one, too.

A program that was given the manifest writes them in a document of its own: kubectl quotes the
patch that the server refused, as one line of JSON with every value in base64.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import yaml

#: Values of more are not looked for: each is a text to search every output for.
_MOST: Final = 200
#: Lists within a list of objects, and objects in all: an alias may stand for many.
_DEPTH: Final = 4
_MOST_OBJECTS: Final = 3_000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def values_within(secret: str) -> frozenset[str]:
    """Texts that Secrets in this text hold, decoded; none where it is no manifest."""
    if "Secret" not in secret or "ata" not in secret:
        return frozenset()
    found: set[str] = set()
    try:
        for one in islice(_objects(secret), _MOST_OBJECTS):
            found.update(_values(one))
            if len(found) >= _MOST:
                break
    except (yaml.YAMLError, ValueError, RecursionError):
        # What was read until then is masked; kubectl refuses the rest.
        pass
    return frozenset(found)


def _objects(text: str) -> Iterator[dict[Any, Any]]:
    """The documents, and what those that are lists hold."""
    for document in yaml.load_all(text, Loader=_Loader):
        yield from _within(document, 0)


def _within(document: Any, depth: int) -> Iterator[dict[Any, Any]]:
    if not isinstance(document, dict) or depth > _DEPTH:
        return
    yield document
    items = document.get("items")
    for item in items if isinstance(items, list) else ():
        yield from _within(item, depth + 1)


def _values(document: dict[Any, Any]) -> Iterator[str]:
    if document.get("kind") != "Secret":
        return
    for field in ("data", "stringData"):
        entries = document.get(field)
        for value in entries.values() if isinstance(entries, dict) else ():
            if isinstance(value, str):
                yield value
                if field == "data" and (decoded := _decoded(value)) is not None:
                    yield decoded


def _decoded(value: str) -> str | None:
    """The text behind base64; nothing where it is none, or no text."""
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
