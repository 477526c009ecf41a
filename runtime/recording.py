"""Recording: the spans of what an attempt does, kept until it is known how it ended.

A driver says `with recording.child("GET") as span:` around what it does elsewhere. Where nothing is
recorded that is one look at a context variable, and an object that does nothing.

The spans of an attempt leave together, at its end: of an executor that was killed none is there
whose parent never comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import time_ns
from types import TracebackType
from typing import Final, Self

from runtime.spans import Fault, Kind, Span, Value
from streams.trace_context import TraceContext, other_span

#: What is None is left out.
Attributes = Mapping[str, Value | None]

_NONE: Final[Attributes] = {}
#: Of one attempt: a tool that asks page by page would make thousands.
MAX_CHILDREN: Final = 64


@dataclass(slots=True)
class Recording:
    """One attempt while it runs."""

    #: Of its own span, which ends last.
    context: TraceContext
    app: str
    children: list[Span] = field(default_factory=list)
    left_out: int = 0

    def child(self, name: str, attributes: Attributes, kind: Kind) -> Child | Unrecorded:
        """A span below that of the attempt; the first MAX_CHILDREN are kept."""
        if len(self.children) + 1 > MAX_CHILDREN:
            self.left_out += 1
            return UNRECORDED
        return Child(self, name, attributes, kind)


_recording: Final[ContextVar[Recording | None]] = ContextVar("recording", default=None)


def start(recording: Recording) -> None:
    """Record what this task does from now on."""
    _recording.set(recording)


def current() -> Recording | None:
    """The recording of this task; None where nothing is recorded."""
    return _recording.get()


def child(name: str, attributes: Attributes = _NONE, kind: Kind = "client") -> Child | Unrecorded:
    """A span of what this task does elsewhere; `name` is of few values."""
    recording = _recording.get()
    return UNRECORDED if recording is None else recording.child(name, attributes, kind)


class Child:
    """A span while it lasts."""

    __slots__ = ("_attributes", "_fault", "_kind", "_name", "_recording", "_start")

    def __init__(self, recording: Recording, name: str, attributes: Attributes, kind: Kind) -> None:
        """Begins when it is entered."""
        self._recording, self._name, self._kind = recording, name, kind
        self._attributes = {key: value for key, value in attributes.items() if value is not None}
        self._fault: Fault | None = None
        self._start = 0

    def set(self, name: str, value: Value | None) -> None:
        """Say more about it; None says nothing."""
        if value is not None:
            self._attributes[name] = value

    def failed(self, error_class: str) -> None:
        """It did not do what it should."""
        self._fault = Fault(error_class)

    def __enter__(self) -> Self:
        """It begins."""
        self._start = time_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """It has ended; of an exception only the type is said, since its text could hold anything.

        Nothing more of it is kept where the attempt has ended meanwhile.
        """
        if kind is not None and self._fault is None:
            cancelled = issubclass(kind, asyncio.CancelledError)
            self._fault = Fault("cancelled" if cancelled else kind.__name__)
        recording = self._recording
        number = len(recording.children)
        own = recording.context
        span = Span(
            self._name, own.at(other_span("child", own.span_id, str(number))), own.span_id,
            self._kind, self._start, time_ns(), self._attributes, self._fault, app=recording.app,
        )  # fmt: skip
        recording.children.append(span)


class Unrecorded:
    """In the place of a span where nothing is recorded."""

    __slots__ = ()

    def set(self, name: str, value: Value | None) -> None:
        """Nothing."""

    def failed(self, error_class: str) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        """Nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""


UNRECORDED: Final = Unrecorded()
