"""The output of a pipeline, in bounded memory: objects as JSON values, and its other streams."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from drivers.powershell.names import CATEGORIES
from drivers.values import KEPT_BYTES, jsonable

#: Of the objects that are kept, serialised; the rest is only counted and published.
_RECORDS: Final = 50
_TEXT: Final = 2_000


@dataclass(frozen=True, slots=True)
class RemoteError:
    """One record of the error stream."""

    message: str
    category: str
    #: The stable name of the error, such as `NoServiceFoundForGivenName`.
    error_id: str
    #: What it was about.
    target: str
    reason: str

    def shown(self) -> dict[str, str]:
        """The record as part of an output."""
        return {
            "message": self.message,
            "category": self.category,
            "error_id": self.error_id,
            "target": self.target,
        }


@dataclass(slots=True)
class Collected:
    """Filled while the pipeline runs."""

    objects: list[Any] = field(default_factory=list)
    #: All, also those that were not kept.
    count: int = 0
    truncated: bool = False
    errors: list[RemoteError] = field(default_factory=list)
    error_count: int = 0
    warnings: list[str] = field(default_factory=list)
    verbose: list[str] = field(default_factory=list)
    information: list[str] = field(default_factory=list)
    #: Whether the pipeline itself ended by an error.
    failed: bool = False
    _room: int = KEPT_BYTES

    def add(self, value: Any) -> bytes:
        """Take one object; returns its line of text."""
        line = value.encode() if isinstance(value, str) else orjson.dumps(value)
        self.count += 1
        self._room -= len(line)
        if self._room >= 0:
            self.objects.append(value)
        else:
            self.truncated = True
        return line + b"\n"

    def add_error(self, record: Any) -> bytes:
        """Take one error record of pypsrp; returns its line of text."""
        error = _error(record)
        self.error_count += 1
        if len(self.errors) < _RECORDS:
            self.errors.append(error)
        return f"ERROR: {error.message}\n".encode()

    def add_record(self, stream: list[str], label: str, text: Any) -> bytes:
        """Take one warning or the like; returns its line of text."""
        shown = _text(text)
        if len(stream) < _RECORDS:
            stream.append(shown)
        return f"{label}: {shown}\n".encode()


def _error(record: Any) -> RemoteError:
    category = getattr(record, "category", None)
    known = isinstance(category, int) and 0 <= category < len(CATEGORIES)
    message = getattr(record, "details_message", None) or getattr(record, "_to_string", None)
    return RemoteError(
        _text(message or "PowerShell gave no reason."),
        CATEGORIES[category] if known and category is not None else "NotSpecified",
        _text(getattr(record, "fq_error", None) or "").partition(",")[0],
        _text(getattr(record, "target_name", None) or ""),
        _text(getattr(record, "reason", None) or ""),
    )


def _text(value: Any) -> str:
    text = str(jsonable(str(value))).strip()
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "\u2026"
