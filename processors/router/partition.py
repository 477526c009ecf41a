"""One partition of the router: its executions, and what a record does to them.

This is the shell around the decisions: it decodes, finds the execution, lets the pure modules
decide, and turns events and effects into records.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Message
from prometheus_client import Counter
from pydantic import ValidationError

from processors.router import changelog, intake, policy
from processors.router.controlling import apply_control, audit
from processors.router.deadlines import next_deadline, restore_leases, tick
from processors.router.memory import Memory
from processors.router.reporting import apply_report
from processors.router.requests import Begin, Desk, Forward, Refuse, Repeat
from processors.router.reruns import rerun_data
from processors.router.schedule import advance
from processors.router.state import ENDED, Execution, Receipt
from processors.router.turn import Dispatch, Stop, Turn
from processors.router.writing import Writer
from runtime import clock
from runtime.kafka.processor import DecisionError, Output
from streams import topics
from streams.commands import CONTROL_COMMAND, Redrive, Rerun
from streams.ids import (
    is_execution_id,
    partition_for,
    route_of,
)
from streams.lifecycle import TERMINAL_EVENTS
from streams.reports import REPORT, AnyReport

#: Ended executions are looked through for forgotten keys this often, in seconds.
FORGET_EVERY: Final = 60.0

_REQUESTS = Counter("runstream_requests_total", "Requests by what became of them", ["outcome"])
_accepted = _REQUESTS.labels("accepted")
_duplicates = _REQUESTS.labels("duplicate")
_rejected = _REQUESTS.labels("rejected")
_dead_letters = _REQUESTS.labels("dead_letter")
_UNKNOWN = Counter("runstream_reports_unknown_total", "Reports of executions not known here")


@dataclass(slots=True)
class RouterPartition:
    """The router's work on the partitions of one number."""

    number: int
    count: int
    prefix: str
    writer: Writer
    memory: Memory
    desk: Desk
    timers: list[tuple[float, str]] = field(default_factory=list)
    #: The earliest timer that stands in the heap for an execution.
    scheduled: dict[str, float] = field(default_factory=dict)
    forget_at: float = 0.0
    #: How many executions have not ended, for the metrics.
    active: int = 0
    #: Executions that changed in this batch: what the changelog must say, written once a batch.
    changed: dict[str, tuple[bool, dict[str, None]]] = field(default_factory=dict)
    #: Executions whose timers failed to run; a record that changes one sets it free again.
    suspended: set[str] = field(default_factory=set)
    _restorer: changelog.Restorer | None = None

    # -- restoring -------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record."""
        if self._restorer is None:
            self._restorer = changelog.Restorer()
        self._restorer.add(key, value)

    def restored(self, now: float) -> None:
        """Put the executions together and derive their timers again."""
        restorer, self._restorer = self._restorer, None
        self.forget_at = now + FORGET_EVERY
        if restorer is None:
            return
        for execution in self.memory.restore(restorer):
            self.active += execution.status not in ENDED
            restore_leases(execution, now)
            self._schedule(execution, next_deadline(execution))

    # -- records ---------------------------------------------------------------------------------

    def handle(self, message: Message, now: float, out: Output) -> None:
        """Decide about one record of a source topic."""
        name = str(message.topic())[len(self.prefix) :]
        if name == topics.REPORTS.name:
            self._report(message, now, out)
        elif name == topics.REQUESTS.name:
            self._request(message, now, out)
        else:
            self._control(message, now, out)

    def dead_letter(self, message: Message, out: Output) -> None:
        """Send a record on which a decision failed to its dead-letter topic."""
        topic = topics.TOPICS[str(message.topic())[len(self.prefix) :]]
        text = "the router could not decide about it; the error is in the router's log"
        self.writer.dead_letter(out, topic, message, "decision_failed", text)

    def _report(self, message: Message, now: float, out: Output) -> None:
        value = message.value()
        try:
            report = REPORT.validate_json(value or b"")
        except ValidationError as error:
            self.writer.dead_letter(out, topics.REPORTS, message, "invalid", _first(error))
            return
        execution = self.memory.executions.get(report.execution_id)
        if execution is not None:
            turn = Turn(execution, now)
            apply_report(turn, report)
            self._finish(turn, out)
            return
        kept = self.memory.receipts.get(report.execution_id)
        if kept is None or report.step not in kept.attempts:
            _UNKNOWN.inc()
        elif report.type != "heartbeat" and kept.attempts[report.step] > report.attempt:
            # The execution has ended since; the last attempts' own reports were applied before.
            data = {"report": report.type, "executor": report.executor, "message": None}
            self._append(kept, "step.late_result", data, now, out, report)

    def _append(
        self,
        kept: Receipt,
        kind: str,
        data: dict[str, Any],
        now: float,
        out: Output,
        report: AnyReport | None = None,
    ) -> None:
        """One more event of an execution of which only the receipt is left."""
        kept.seq += 1
        event = _event(kept.id, kept.seq, kind, now, kept.tenant, data)
        if report is not None:
            event["step"], event["attempt"] = report.step, report.attempt
        self.writer.events(out, [event], self.number)
        self._write_receipt(kept, out)

    def _request(self, message: Message, now: float, out: Output) -> None:
        match self.desk.answer(message.value(), now):
            case intake.Poison(error_class, text):
                _dead_letters.inc()
                self.writer.dead_letter(out, topics.REQUESTS, message, error_class, text)
            case Forward(route, home):
                self.writer.forward(out, topics.REQUESTS, message, route, home)
            case Begin(execution_id, tenant, data):
                _accepted.inc()
                self._begin(execution_id, tenant, data, now, out)
            case Repeat(known, data):
                _duplicates.inc()
                if isinstance(known, Execution):
                    turn = Turn(known, now)
                    turn.emit("execution.duplicate", data)
                    self._finish(turn, out)
                else:
                    self._append(known, "execution.duplicate", data, now, out)
            case Refuse() as refusal:
                _rejected.inc()
                self._reject(refusal, now, out)

    def _reject(self, refusal: Refuse, now: float, out: Output) -> None:
        execution_id, tenant = refusal.execution_id, refusal.tenant
        if refusal.keep:
            kept = Receipt(execution_id, tenant, None, "", "rejected", 1, now)
            self.memory.keep(kept)
            self._write_receipt(kept, out)
        event = _event(execution_id, 1, "execution.rejected", now, tenant, refusal.data)
        home = partition_for(route_of(execution_id).encode(), self.count)
        self.writer.events(out, [event], home)

    def _begin(
        self, execution_id: str, tenant: str, data: dict[str, Any], now: float, out: Output
    ) -> None:
        turn = Turn.begin(execution_id, tenant, data, now)
        execution = turn.execution
        self.memory.add(execution)
        self.active += 1
        if execution.approval_level > 0:
            turn.emit("execution.approval_requested", approval_data(execution, now))
        advance(turn, everything=True)
        self._finish(turn, out, new=True)

    def _control(self, message: Message, now: float, out: Output) -> None:
        try:
            command = CONTROL_COMMAND.validate_json(message.value() or b"")
        except ValidationError as error:
            self.writer.dead_letter(out, topics.CONTROL, message, "invalid", _first(error))
            return
        if not is_execution_id(command.execution_id):
            text = "execution_id is not the id of an execution"
            self.writer.dead_letter(out, topics.CONTROL, message, "invalid", text)
            return
        route = route_of(command.execution_id)
        home = partition_for(route.encode(), self.count)
        if home != self.number:
            self.writer.forward(out, topics.CONTROL, message, route, home)
            return
        execution = self.memory.executions.get(command.execution_id)
        if execution is None:
            kept = self.memory.receipts.get(command.execution_id)
            if kept is None:
                text = "no execution with this id is known"
                self.writer.dead_letter(out, topics.CONTROL, message, "unknown_execution", text)
                return
            why = f"the execution has ended as {kept.status}"
            refusal = {"actor": command.actor, "action": command.type, "allowed": False}
            self._append(kept, "audit.decision", {**refusal, "message": why}, now, out)
            return
        turn = Turn(execution, now)
        if isinstance(command, Rerun | Redrive):
            self._rerun(turn, command, now, out)
        else:
            apply_control(turn, command)
        self._finish(turn, out)

    def _rerun(self, turn: Turn, command: Rerun | Redrive, now: float, out: Output) -> None:
        execution = turn.execution
        wanted = command.new_execution_id if isinstance(command, Rerun) else None
        step = command.step if isinstance(command, Redrive) else command.from_step
        data = rerun_data(execution, step, command.actor)
        if isinstance(data, str):
            audit(turn, command.actor, command.type, False, data)
            return
        if (
            wanted is None
            or self.memory.taken(wanted)
            or route_of(wanted) != route_of(execution.id)
        ):
            wanted = self.desk.mint(route_of(execution.id), now)
        data["idempotency_key"] = f"rerun:{wanted}"
        audit(turn, command.actor, command.type, True, f"rerun as {wanted}")
        self._begin(wanted, execution.tenant, data, now, out)

    # -- time ------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """The moment of the next timer."""
        return min(self.timers[0][0], self.forget_at) if self.timers else self.forget_at

    def tick(self, now: float, out: Output) -> None:
        """Run the timers that are due."""
        while self.timers and self.timers[0][0] <= now:
            when, execution_id = heapq.heappop(self.timers)
            if self.scheduled.get(execution_id) == when:
                del self.scheduled[execution_id]
            execution = self.memory.executions.get(execution_id)
            if execution is None or execution.status in ENDED or execution_id in self.suspended:
                continue
            due = next_deadline(execution)
            if due is not None and due <= now:
                turn = Turn(execution, now)
                try:
                    tick(turn)
                except Exception as error:
                    raise DecisionError(execution_id) from error
                self._finish(turn, out)
            if execution.status not in ENDED:
                self._schedule(execution, next_deadline(execution))
        if self.forget_at <= now:
            self.forget_at = now + FORGET_EVERY
            self.writer.changelog(out, self.number, self.memory.forget(now))

    def suspend(self, key: str) -> None:
        """Run no timer of this execution until a record changes it."""
        self.suspended.add(key)

    def _schedule(self, execution: Execution, when: float | None) -> None:
        if when is None or self.scheduled.get(execution.id, float("inf")) <= when:
            return
        self.scheduled[execution.id] = when
        heapq.heappush(self.timers, (when, execution.id))

    # -- writing ---------------------------------------------------------------------------------

    def _finish(self, turn: Turn, out: Output, *, new: bool = False) -> None:
        """Send what a turn decided, and note what the changelog must say about it."""
        if not turn.events and not turn.effects:
            return
        execution = turn.execution
        self.suspended.discard(execution.id)
        if turn.events:
            self.writer.events(out, turn.events, self.number)
        for effect in turn.effects:
            if isinstance(effect, Dispatch):
                self.writer.dispatch(out, effect, turn.now)
            elif isinstance(effect, Stop):
                self.writer.stop(out, effect, turn.now)
            else:
                self.writer.exhaust(out, effect, turn.now)
        if not turn.events:
            return
        was_new, dirty = self.changed.get(execution.id, (False, {}))
        dirty.update(turn.dirty)
        self.changed[execution.id] = (new or was_new, dirty)
        if execution.status in ENDED:
            self.scheduled.pop(execution.id, None)
            self.active -= any(event["type"] in TERMINAL_EVENTS for event in turn.events)
        else:
            # Whatever holds or frees the execution as a whole moves the timers of all its steps.
            whole = any("step" not in event for event in turn.events)
            steps = None if whole else [execution.steps[name] for name in turn.dirty]
            self._schedule(execution, next_deadline(execution, steps))

    def flush(self, out: Output) -> None:
        """Write the changelog of everything that changed in this batch."""
        for execution_id, (new, dirty) in self.changed.items():
            execution = self.memory.executions[execution_id]
            pieces = changelog.pieces(execution, dirty, new=new)
            self.writer.changelog(out, self.number, pieces)
            if execution.status in ENDED and execution.ended_at is not None:
                self.memory.retire(execution)
        self.changed.clear()

    def _write_receipt(self, kept: Receipt, out: Output) -> None:
        self.writer.changelog(out, self.number, changelog.receipt_pieces(kept))


def approval_data(execution: Execution, now: float) -> dict[str, Any]:
    """The data of `execution.approval_requested`."""
    timings = policy.timings(execution.sla_class, execution.action_class)
    return {
        "level": execution.approval_level,
        "plan_hash": execution.plan_hash,
        "requested_by": execution.actor,
        "expires_at": clock.iso(now + timings.approval),
    }


def _event(
    execution_id: str, seq: int, kind: str, now: float, tenant: str, data: dict[str, Any]
) -> dict[str, Any]:
    """An event of an execution that is not, or no longer, kept as a state."""
    return {
        "execution_id": execution_id,
        "seq": seq,
        "type": kind,
        "at": clock.iso(now),
        "tenant": tenant,
        "data": data,
    }


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])
