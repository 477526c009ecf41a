"""The records of one claim: what a batch of commands adds to the transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from processors.executors.approved import Unapproved
from processors.executors.authentication import RefuseCommand
from processors.executors.claim import (
    Arrival,
    Bind,
    Forged,
    Place,
    Refuse,
    Skip,
    Start,
    Unreadable,
    decide,
)
from processors.executors.fencing import Fences
from processors.executors.report_records import together
from processors.executors.reports import Record, Reports
from runtime import clock
from runtime.kafka.dead_letters import HeaderList, dead_letter, fitting
from runtime.kafka.guard import Undecidable, guarded
from runtime.logs import Log
from streams import envelope
from streams.commands import CancelStep, StepCommand
from streams.envelope import Headers
from streams.trace_context import trace_parent
from streams.vocabulary import Environment

#: What `ClaimBuilder.add` may return.
CLAIM_DECISIONS: Final = (
    *("started", "refused_expired", "refused_cancelled", "refused_invalid"),
    *("refused_environment", "refused_not_approved", "refused_fenced", "repeated"),
    *("not_authentic", "dead_letter"),
)


_COPY: Final = "the attempt was claimed here before: a copy"


class Output(NamedTuple):
    """One record of the transaction, by the topic's full name; -1 lets the key choose."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers | HeaderList
    partition: int = -1


@dataclass(slots=True)
class ClaimBuilder:
    """Collects the outputs and starts of one batch, in its order."""

    reports: Reports
    group: str
    #: Full names.
    topic: str
    reports_topic: str
    #: What this executor serves.
    environment: Environment
    cancelled: Callable[[str], CancelStep | None]
    claimed: Callable[[str], bool]
    bind: Bind
    partitions_of: Callable[[str], int]
    log: Log
    refuse: RefuseCommand
    unapproved: Unapproved
    #: How far this machine's clock is ahead of the broker's, in seconds.
    clock_ahead: float = 0.0
    #: Of this process, not of the batch.
    fences: Fences = field(default_factory=Fences)
    #: Without signatures yet.
    unsigned: list[Record] = field(default_factory=list)
    letters: list[Output] = field(default_factory=list)
    #: Each with the trace header of its command and, where there is one, its place.
    starts: list[tuple[Start, bytes | None, Place | None]] = field(default_factory=list)
    #: Their attempts: a copy of a command can be in the batch of the original.
    started: set[str] = field(default_factory=set)
    dead_letters: int = 0
    #: The classes of all of them, for the metrics.
    letter_classes: Counter[str] = field(default_factory=Counter)

    def add(self, message: Message) -> str:
        """Decide about one command; returns the decision's name for the metrics.

        A command on which the decision itself raises becomes a dead letter.
        """
        headers = envelope.message_headers(message)
        arrival = Arrival(clock.now(), self.clock_ahead, _appended_at(message, headers))
        try:
            decision = guarded(
                "claim",
                decide,
                message.value(),
                envelope.major_version(envelope.header(headers, "ce_type")),
                arrival,
                self.environment,
                self.cancelled,
                self._was_claimed,
                self.bind,
                partial(self.refuse, message, headers),
                self.unapproved,
                self.fences.check,
            )
        except Undecidable as error:
            cause = error.__cause__ or error
            self.log.error(
                "cannot be decided about", stage=error.stage, partition=message.partition(),
                offset=message.offset(), exc_info=(type(cause), cause, cause.__traceback__),
            )  # fmt: skip
            text = "the executor could not decide about it; the error is in the executor's log"
            decision = Unreadable("decision_failed", text)
        trace = trace_parent(headers)
        match decision:
            case Start(command):
                self._report(command, "started", arrival.now, trace)
                self.starts.append((decision, trace, self._place(message, trace)))
                self.started.add(decision.attempt_id)
                return "started"
            case Refuse(command, reason, text):
                self._report(command, "refused", arrival.now, trace, reason=reason, message=text)
                self.log.info("refused", reason=reason, why=text, **_names(command))
                return f"refused_{reason}"
            case Skip(command):
                # A router writes each command once, and a claim is never read twice.
                self._report(command, "rejected_command", arrival.now, trace, message=_COPY)
                self.log.warning("claimed before", **_names(command))
                return "repeated"
            case Forged(command, text):
                # Anybody may have written it: it must not stop this lane as a dead letter that
                # counts would, and its report changes nothing of the attempt.
                self._report(command, "rejected_command", arrival.now, trace, message=text[:2_000])
                self._dead_letter(message, "not_authentic", text, counts=False)
                return "not_authentic"
            case Unreadable(error_class, text):
                self._dead_letter(message, error_class, text)
                return "dead_letter"

    def _place(self, message: Message, trace: bytes | None) -> Place | None:
        if trace is None:
            return None
        return Place(self.topic, message.partition() or 0, message.offset() or 0, self.group)

    def _was_claimed(self, attempt: str) -> bool:
        return attempt in self.started or self.claimed(attempt)

    def outputs(self) -> list[Output]:
        """The records of the batch, the reports with their signatures."""
        signed = self.reports.sign(together(self.unsigned))
        return [*(Output(self.reports_topic, *record) for record in signed), *self.letters]

    def _report(
        self, command: StepCommand, kind: str, now: float, trace: bytes | None, **fields: Any
    ) -> None:
        record = self.reports.record(command, kind, clock.iso(now), trace, **fields)
        self.unsigned.append(record)

    def _dead_letter(
        self, message: Message, error_class: str, text: str, *, counts: bool = True
    ) -> None:
        record = dead_letter(
            self.topic,
            message,
            error_class=error_class,
            message_text=text,
            stage="decode",
            group=self.group,
            app="executor",
        )
        record = fitting(record, self.partitions_of(record.topic))
        self.dead_letters += counts
        self.letter_classes[error_class] += 1
        self.log.warning(
            "dead letter", error_class=error_class, partition=message.partition(),
            offset=message.offset(),
        )  # fmt: skip
        partition = -1 if record.partition is None else record.partition
        self.letters.append(
            Output(record.topic, record.key, record.value, record.headers, partition)
        )


def _appended_at(message: Message, headers: list[tuple[str, Any]]) -> float | None:
    """The broker's time of the record; None for a dead letter that was sent again."""
    kind, milliseconds = message.timestamp()
    if kind != TIMESTAMP_LOG_APPEND_TIME or envelope.header(headers, envelope.HOPS) is not None:
        return None
    return milliseconds / 1_000


def _names(command: StepCommand) -> dict[str, Any]:
    return {
        "execution": command.execution_id,
        "step": command.step,
        "attempt": command.attempt,
    }
