"""Trace context: which trace an execution belongs to, and the ids of its spans.

Ids are derived from the execution, step and attempt, never drawn: every process names the same span
alike, before and after a restart, so a span can have children before it has ended itself.

Source: W3C Trace Context, level 2; Kafka has its `traceparent` as a header of the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

#: The header of a record, as W3C names it for HTTP.
TRACEPARENT: Final = "traceparent"
#: In the place of a span id, where a trace begins here.
NO_SPAN: Final = "0" * 16
_FORM: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_LENGTH: Final = 55
#: A later version may say more after these; what is longer is nobody's header.
_LONGEST: Final = 512
_SAMPLED: Final = 1


class TraceContext(NamedTuple):
    """A span of a trace, by its ids in lower case hex, and whether the trace is recorded."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def text(self) -> str:
        """As a `traceparent`; that of a trace which begins here has NO_SPAN in it."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def at(self, span_id: str) -> TraceContext:
        """Another span of the same trace."""
        return TraceContext(self.trace_id, span_id, self.sampled)


def trace_parent(given: Iterable[tuple[str, bytes | str | None]] | None) -> bytes | None:
    """The `traceparent` of these headers in the form of version 00; None where it is not one.

    Checked as bytes, before anything decodes it. Of several nobody knows which one counts: W3C has
    such a trace begin anew. Never raises.
    """
    found: bytes | None = None
    for key, value in given or ():
        if key == TRACEPARENT:
            if found is not None or not isinstance(value, bytes):
                return None
            found = value
    if found is None or len(found) > _LONGEST or _FORM.match(found) is None:
        return None
    if len(found) == _LENGTH:
        return found if found.startswith(b"00") else b"00" + found[2:]
    later = not found.startswith(b"00") and found[_LENGTH : _LENGTH + 1] == b"-"
    return b"00" + found[2:_LENGTH] if later else None


def parsed(text: str | bytes) -> TraceContext:
    """What `trace_parent` has found, or `TraceContext.text` has written."""
    known = text.decode() if isinstance(text, bytes) else text
    _, trace_id, span_id, flags = known.split("-")
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def new_trace(execution_id: str) -> str:
    """The id of the trace of an execution whose producer has named none."""
    return _digest(16, "trace", execution_id)


def execution_span(execution_id: str) -> str:
    """The span of a whole execution."""
    return _digest(8, "execution", execution_id)


def attempt_span(execution_id: str, step: str, attempt: int) -> str:
    """The span of sending the command of an attempt: what its executor does is below it."""
    return _digest(8, "attempt", execution_id, step, str(attempt))


def other_span(kind: str, *parts: str) -> str:
    """A span of another kind; the same parts name the same span."""
    return _digest(8, kind, *parts)


def _digest(size: int, *parts: str) -> str:
    return blake2b("\n".join(parts).encode(), digest_size=size, person=b"runstream").hexdigest()
