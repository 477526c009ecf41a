"""Texts about the excerpts of stdout and stderr in a result."""

from __future__ import annotations

from reading.text import plain, size
from streams.reports import StreamSummary


def described(name: str, summary: StreamSummary) -> str:
    """The stream, its length, and how much of it is missing."""
    words = f"{name}, {size(summary.bytes)}"
    return f"{words}; {lost(summary)}" if summary.lost_bytes else words


def lost(summary: StreamSummary) -> str:
    """How much could not be published."""
    return f"{size(summary.lost_bytes)} of it are lost: they could not be published"


def excerpt(summary: StreamSummary) -> str:
    """Head and tail, or the whole where that is all."""
    if not summary.tail:
        return plain(summary.head)
    return f"{plain(summary.head)}\n…\n{plain(summary.tail)}"


def tail(summary: StreamSummary) -> str:
    """The end of the stream."""
    return plain(summary.tail or summary.head).rstrip()
