"""Notes of a trace: what a reader of single events needs to make the span of an execution of them.

A header of the events that begin and end an execution, of those that are traced only.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: The name of the header.
NOTE: Final = "runstream-trace"
_SOURCE: Final = re.compile(r"from=([A-Za-z0-9._-]{1,249})/(\d{1,9})/(\d{1,18})/(\d{1,15})")
_ENDED: Final = re.compile(r"parent=([0-9a-f]{16}),began=(\d{1,11}\.\d{3})")


class Source(NamedTuple):
    """The record that asked for an execution."""

    topic: str
    partition: int
    offset: int
    #: By the broker's clock, in Unix milliseconds.
    timestamp_ms: int


def source_note(source: Source) -> str:
    """Where the request lies."""
    return f"from={source.topic}/{source.partition}/{source.offset}/{source.timestamp_ms}"


def ended_note(parent: str, began: float) -> str:
    """The span of the producer, and when the execution began (Unix seconds)."""
    return f"parent={parent},began={began:.3f}"


def source_of(note: str | None) -> Source | None:
    """What `source_note` has written; None for anything else."""
    found = _SOURCE.search(note or "")
    return None if found is None else Source(found[1], int(found[2]), int(found[3]), int(found[4]))


def ended_of(note: str | None) -> tuple[str, float] | None:
    """What `ended_note` has written; None for anything else."""
    found = _ENDED.search(note or "")
    return None if found is None else (found[1], float(found[2]))
