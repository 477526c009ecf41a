"""Plan files: YAML or JSON, from disk or stdin, read strictly and with bounds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from console.exits import Exit, Failure
from runtime.plan_documents import parse, parse_mapping
from streams.limits import MAX_REQUEST_BYTES

_KIB = MAX_REQUEST_BYTES // 1024


def load(path: str) -> dict[str, Any]:
    """The document in the file at `path`, or on stdin for `-`; raises Failure naming the place."""
    return _load(path, parse)


def load_mapping(path: str) -> dict[str, Any]:
    """The names and values in a file of inputs; raises Failure naming the place."""
    return _load(path, parse_mapping)


def _load(path: str, parsed: Callable[[str, bool], dict[str, Any]]) -> dict[str, Any]:
    source = "stdin" if path == "-" else path
    try:
        return parsed(_read(path), path.endswith(".json"))
    except OSError as error:
        message = f"{source} cannot be read: {error.strerror or error}"
        raise Failure(message, Exit.USAGE) from None
    except ValueError as error:
        raise Failure(f"{source}: {error}", Exit.USAGE) from None


def _read(path: str) -> str:
    if path == "-":
        raw = sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)
    else:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_REQUEST_BYTES + 1)
    if len(raw) > MAX_REQUEST_BYTES:
        raise ValueError(f"larger than the {_KIB} KiB that a request may have")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (at byte {error.start})") from None
