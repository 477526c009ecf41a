"""Following one execution to its end, and waiting for the response to a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from console.display import Display
from console.eventlog import EventLog
from console.exits import OUTCOMES, Exit, Failure
from console.request import Prepared
from console.view import ExecutionView
from runtime.clock import monotonic
from streams.answers import answers_request
from streams.events import Event, decode_event

#: How long an execution of which nothing is on the log may take to appear.
FIRST_EVENT_SECONDS: Final = 10.0
#: How long one wait lasts, so that Ctrl-C and deadlines are noticed soon.
_TICK_SECONDS: Final = 0.2


def parse(value: bytes) -> Event | None:
    """The event in `value`; None where it is none."""
    try:
        return decode_event(value)
    except ValueError:
        return None


def response(log: EventLog, request: Prepared, seconds: float) -> Event | None:
    """The router's response to `request` within `seconds`; None where there is none."""
    until = monotonic() + seconds
    while (left := until - monotonic()) > 0:
        value = log.next(min(left, _TICK_SECONDS))
        if value is None:
            continue
        event = parse(value)
        if event is not None and answers_request(
            event, request.execution_id, request.tenant, request.idempotency_key
        ):
            return event
    return None


def follow(
    log: EventLog,
    view: ExecutionView,
    display: Display,
    *,
    timeout: float,
    first: Event | None = None,
    unknown: bool = False,
    linger: bool = False,
) -> Exit:
    """Show `view`'s execution until it ends; returns the exit code of its outcome.

    `unknown` says that the execution may not exist: when the log has been read and
    FIRST_EVENT_SECONDS have passed without an event, that is a Failure. `linger` goes on after the
    end, for late reports, until `timeout`.
    """
    begun = monotonic()
    noted_silence = noted_away = False
    with display.frame():
        if first is not None:
            _show(first, view, display)
        while view.ended is None or linger:
            value = log.next(_TICK_SECONDS)
            if value is not None:
                if view.execution_id.encode() in value:
                    event = parse(value)
                    if event is not None and event.execution_id == view.execution_id:
                        _show(event, view, display)
                if monotonic() - begun < timeout:
                    continue
            waited = monotonic() - begun
            if waited >= timeout:
                break
            if log.away and not noted_away:
                display.note("the broker is away; waiting for it to come back", "yellow")
            noted_away = log.away
            if view.seq == 0 and waited > FIRST_EVENT_SECONDS and log.caught_up:
                if unknown:
                    raise not_found(view.execution_id)
                if not noted_silence:
                    display.note(NO_RESPONSE, "yellow")
                noted_silence = True
    if view.ended is None:
        raise unfinished(view.execution_id, view.status, timeout)
    return OUTCOMES[view.ended.type]


NO_RESPONSE: Final = (
    "the router has not answered yet; the request is safe on its topic and will be answered as "
    "soon as one runs (runstream status)"
)


def _show(event: Event, view: ExecutionView, display: Display) -> None:
    if view.apply(event):
        display.event(event)


def unfinished(execution_id: str, status: str, timeout: float) -> Failure:
    """The failure where the time limit of watching ends before the execution does."""
    return Failure(
        f"{execution_id} is {status.replace('_', ' ')} after {timeout:g} s; "
        "it goes on without this command",
        Exit.TIMED_OUT,
        f"runstream watch {execution_id}",
    )


def not_found(execution_id: str) -> Failure:
    """The failure for an execution without events."""
    return Failure(
        f"no event of execution {execution_id} is on the event topic",
        Exit.FAILED,
        "check the id, the cluster (KAFKA_BOOTSTRAP_SERVERS) and RUNSTREAM_TOPIC_PREFIX; events "
        f"are kept for 30 days, older ones in Postgres: runstream show {execution_id}",
    )


@contextmanager
def detachable(execution_id: str) -> Iterator[None]:
    """On Ctrl-C end the watcher with a message; the execution goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Failure(
            f"no longer watching; execution {execution_id} goes on",
            Exit.INTERRUPTED,
            f"runstream watch {execution_id}, or to end it: runstream cancel {execution_id}",
        ) from None
