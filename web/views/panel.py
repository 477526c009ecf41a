"""The panel beside the tabs: everything about one step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from reading.models.steps import Attempt, StepDetail, StreamName
from streams.lifecycle import STEP_ENDED
from web.statuses import Look, step_look
from web.views.tree import Branch, Leaf, tree

#: Streams that can be chosen; the API has all of them.
_MOST_STREAMS: Final = 12


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt."""

    number: int
    look: Look
    executor: str | None
    at: datetime | None
    seconds: float | None
    error: str | None
    #: Whether another attempt could help.
    transient: bool | None
    output: Leaf | Branch | None


@dataclass(frozen=True, slots=True)
class Stream:
    """What an attempt wrote to stdout or stderr."""

    name: StreamName
    attempt: int
    current: bool
    href: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Panel:
    """One step."""

    execution_id: str
    step: str
    look: Look
    tool: str | None
    description: str | None
    #: Why it waits, failed or was skipped.
    why: str | None
    error_class: str | None
    facts: list[tuple[str, str]]
    started_at: datetime | None
    seconds: float | None
    since: datetime | None
    percent: float | None
    until: datetime | None
    inputs: Leaf | Branch | None
    outputs: Leaf | Branch | None
    attempts: list[AttemptRow]
    evidence: Leaf | Branch | None
    evidence_certain: bool
    streams: list[Stream]
    #: The stream that is shown.
    attempt: int
    stream: StreamName
    live: bool


def panel(
    execution_id: str,
    detail: StepDetail,
    now: datetime,
    attempt: int | None,
    stream: StreamName | None,
    href: str,
) -> Panel:
    """The panel of this step with the output of one attempt; `href` leads to the step."""
    status = detail.status or "unknown"
    live = status not in STEP_ENDED and detail.started_at is not None
    last = detail.attempts[-1] if detail.attempts else None
    chosen = attempt or (detail.streams[-1].attempt if detail.streams else detail.attempt)
    name: StreamName = stream or _fuller(detail, chosen)
    seconds = detail.duration_seconds
    if live and detail.started_at is not None:
        seconds = (now - detail.started_at).total_seconds()
    failed = detail.error_message is not None
    return Panel(
        execution_id=execution_id,
        step=detail.step,
        look=step_look(status),
        tool=detail.tool,
        description=detail.description,
        why=detail.error_message or detail.status_reason or detail.progress_message,
        error_class=detail.error_class if failed else None,
        facts=_facts(detail),
        started_at=detail.started_at,
        seconds=seconds,
        since=detail.started_at if status == "running" else None,
        percent=detail.percent if status == "running" else None,
        until=detail.waiting_until,
        inputs=_tree(detail.input_data),
        outputs=_tree(detail.output_data),
        attempts=[_attempt(one) for one in reversed(detail.attempts)],
        evidence=_tree(last.evidence) if last else None,
        evidence_certain=bool(last and last.evidence and last.status == "cancelled"),
        streams=_streams(detail, chosen, name, href),
        attempt=chosen,
        stream=name,
        live=live,
    )


def _tree(value: Any) -> Leaf | Branch | None:
    return None if value is None or value in ({}, []) else tree(value)


def _fuller(detail: StepDetail, attempt: int) -> StreamName:
    """The stream that is worth showing first: stdout, unless only the other one has text."""
    written = {one.stream: one.bytes for one in detail.streams if one.attempt == attempt}
    return "stderr" if written.get("stderr") and not written.get("stdout") else "stdout"


def _facts(detail: StepDetail) -> list[tuple[str, str]]:
    facts = [
        ("Target", detail.target),
        ("Executor", detail.executor),
        ("Domain", detail.domain),
        ("After", ", ".join(detail.depends_on)),
        ("Undoes", detail.undoes),
        ("Within", detail.parent),
        ("Contains", f"{detail.children} steps" if detail.children else None),
    ]
    return [(label, text) for label, text in facts if text]


def _attempt(attempt: Attempt) -> AttemptRow:
    return AttemptRow(
        number=attempt.attempt,
        look=step_look(attempt.status or "unknown"),
        executor=attempt.executor,
        at=attempt.started_at or attempt.dispatched_at,
        seconds=attempt.duration_seconds,
        error=attempt.error_message,
        transient=attempt.transient if attempt.error_message else None,
        output=_tree(attempt.output),
    )


def _streams(detail: StepDetail, attempt: int, name: StreamName, href: str) -> list[Stream]:
    found = [
        Stream(
            name=one.stream,
            attempt=one.attempt,
            current=one.attempt == attempt and one.stream == name,
            href=f"{href}&{urlencode({'attempt': one.attempt, 'stream': one.stream})}",
            bytes=one.bytes,
        )
        for one in detail.streams
    ]
    # The latest attempt is what people look for.
    return sorted(found, key=lambda one: -one.attempt)[:_MOST_STREAMS]
