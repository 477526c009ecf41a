"""Documents of plans: YAML or JSON as people write it, read strictly and with bounds."""

from __future__ import annotations

import json
import math
from typing import Any

from streams.limits import MAX_REQUEST_BYTES

_KIB = MAX_REQUEST_BYTES // 1024
_MAX_DEPTH = 64


def parse(text: str, prefer_json: bool = False) -> dict[str, Any]:
    """The document in `text`; raises ValueError for what is no plan or cannot be sent as JSON."""
    document = _decode(text, prefer_json)
    known = ("steps", "plan", "procedure")
    if not isinstance(document, dict) or not any(name in document for name in known):
        raise ValueError("no plan in it: expected a mapping with `steps`, or with `plan`")
    _check(document)
    return document


def parse_mapping(text: str, prefer_json: bool = False) -> dict[str, Any]:
    """The mapping in `text`; raises ValueError for what is none or cannot be sent as JSON."""
    document = _decode(text, prefer_json)
    if not isinstance(document, dict):
        raise ValueError("no inputs in it: expected a mapping of names to values")
    _check(document)
    return document


def _decode(text: str, prefer_json: bool) -> Any:
    if prefer_json or text.lstrip()[:1] == "{":
        try:
            return json.loads(text, object_pairs_hook=_pairs)
        except RecursionError:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels") from None
        except json.JSONDecodeError as error:
            # A brace may start a YAML flow mapping too.
            if prefer_json:
                where = f"line {error.lineno}, column {error.colno}"
                raise ValueError(f"{where}: not JSON: {error.msg}") from None
    from runtime import coreyaml

    return coreyaml.load(text)


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in items:
        if key in result:
            raise ValueError(f"the key {key!r} occurs twice in one object")
        result[key] = value
    return result


def _check(document: dict[str, Any]) -> None:
    """Bound the size with all aliases expanded, and name the place of what JSON has no form for."""
    weights: dict[int, int] = {}
    open_now: set[int] = set()

    def measure(value: Any, where: str, depth: int) -> int:
        if not isinstance(value, dict | list):
            return _scalar(value, where)
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
        if id(value) in open_now:
            raise ValueError(f"{where}: an alias that contains itself")
        if id(value) not in weights:
            open_now.add(id(value))
            total = 2
            if isinstance(value, dict):
                for key, item in value.items():
                    total += _scalar(key, where)
                    total += measure(item, f"{where}.{key}" if where else key, depth + 1)
            else:
                for index, item in enumerate(value):
                    total += measure(item, f"{where}[{index}]", depth + 1)
            open_now.discard(id(value))
            weights[id(value)] = total
        return weights[id(value)]

    if measure(document, "", 1) > 2 * MAX_REQUEST_BYTES:
        raise ValueError(f"with all aliases expanded larger than the {_KIB} KiB of a request")


def _scalar(value: Any, where: str) -> int:
    if isinstance(value, str):
        try:
            return len(value.encode()) + 3
        except UnicodeEncodeError:
            raise ValueError(f"{where}: half of a surrogate pair is not text") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: {value} is not a number that JSON can carry")
    if value is not None and not isinstance(value, bool | int | float):
        raise ValueError(f"{where}: a {type(value).__name__} is not JSON; put it in quotes")
    return 5
