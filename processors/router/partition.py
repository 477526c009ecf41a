"""One partition of the router: its executions, and what a record does to them.

This is the shell around the decisions: it decodes, finds the execution, lets the pure modules
decide, and turns events and effects into records.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Message
from prometheus_client import Counter

from processors.router import decoding, policy
from processors.router.changelog import Change, entry_record, records
from processors.router.commands import audit, decide_command
from processors.router.deadlines import decide_deadline, next_deadline, restore_leases
from processors.router.decision import Decision
from processors.router.reports import decide_late_report, decide_report
from processors.router.requests import Accept, Forward, Refuse, Repeat, RequestHandler
from processors.router.reruns import NOT_RERUNNABLE, rerun_of
from processors.router.scheduling import advance
from processors.router.state import DedupEntry, Execution
from processors.router.store import Restorer, StateStore
from processors.router.writing import Writer
from runtime.kafka.processor import DecisionError, Output
from streams import topics
from streams.commands import Redrive, Rerun
from streams.events import Event
from streams.ids import partition_for, route_of
from streams.lifecycle import ENDED
from streams.payloads import Accepted, ApprovalRequested, Audit, Payload
from streams.timestamps import iso

#: Entries of ended executions are looked through for expired ones this often, in seconds.
EXPIRE_SECONDS: Final = 60.0

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
    store: StateStore
    requests: RequestHandler
    timers: list[tuple[float, str]] = field(default_factory=list)
    #: The earliest timer that stands in the heap for an execution.
    scheduled: dict[str, float] = field(default_factory=dict)
    expire_at: float = 0.0
    #: Executions that changed in this batch: what the changelog must say, written once a batch.
    changed: dict[str, Change] = field(default_factory=dict)
    #: Executions whose timers failed to run; a record that changes one sets it free again.
    suspended: set[str] = field(default_factory=set)
    _restorer: Restorer | None = None

    # -- restoring -------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record."""
        if self._restorer is None:
            self._restorer = Restorer(self.store)
        self._restorer.add(key, value)

    def restored(self, now: float) -> None:
        """Put the executions together and derive their timers again."""
        restorer, self._restorer = self._restorer, None
        self.expire_at = now + EXPIRE_SECONDS
        if restorer is None:
            return
        restorer.finish()
        for execution in self.store.living.values():
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
        report = decoding.decode_report(message.value())
        if isinstance(report, decoding.Undecodable):
            error_class, text = report.error_class, report.message
            self.writer.dead_letter(out, topics.REPORTS, message, error_class, text)
            return
        execution = self.store.living.get(report.execution_id)
        if execution is not None:
            self._write(decide_report(execution, report, now), out)
            return
        entry = self.store.entry(report.execution_id)
        if entry is None:
            _UNKNOWN.inc()
            return
        data = decide_late_report(entry, report)
        if data is not None:
            step, attempt = report.step, report.attempt
            self._append(entry, "step.late_result", data, now, out, step, attempt)

    def _append(
        self,
        entry: DedupEntry,
        kind: str,
        data: Payload,
        now: float,
        out: Output,
        step: str | None = None,
        attempt: int | None = None,
    ) -> None:
        """One more event of an execution of which only the entry is left."""
        entry.seq += 1
        self.store.put_entry(entry)
        event = Event(entry.id, entry.seq, kind, iso(now), entry.tenant, data, step, attempt)
        self.writer.events(out, [event], self.number)
        self.writer.changelog(out, self.number, [entry_record(entry)])

    def _request(self, message: Message, now: float, out: Output) -> None:
        match self.requests.decide(message.value(), now):
            case decoding.Undecodable(error_class, text):
                _dead_letters.inc()
                self.writer.dead_letter(out, topics.REQUESTS, message, error_class, text)
            case Forward(route, home):
                self.writer.forward(out, topics.REQUESTS, message, route, home)
            case Accept(execution_id, tenant, data):
                _accepted.inc()
                self._accept(execution_id, tenant, data, now, out)
            case Repeat(known, duplicate):
                _duplicates.inc()
                if isinstance(known, Execution):
                    decision = Decision(known, now)
                    decision.emit("execution.duplicate", duplicate)
                    self._write(decision, out)
                else:
                    self._append(known, "execution.duplicate", duplicate, now, out)
            case Refuse() as refusal:
                _rejected.inc()
                self._reject(refusal, now, out)

    def _reject(self, refusal: Refuse, now: float, out: Output) -> None:
        execution_id, tenant = refusal.execution_id, refusal.tenant
        if refusal.keep:
            entry = DedupEntry(execution_id, tenant, None, "", "rejected", 1, now)
            self.store.put_entry(entry)
            self.writer.changelog(out, self.number, [entry_record(entry)])
        event = Event(execution_id, 1, "execution.rejected", iso(now), tenant, refusal.data)
        home = partition_for(route_of(execution_id).encode(), self.count)
        self.writer.events(out, [event], home)

    def _accept(
        self, execution_id: str, tenant: str, data: Accepted, now: float, out: Output
    ) -> None:
        decision = Decision.accept(execution_id, tenant, data, now)
        execution = decision.execution
        self.store.put(execution)
        self.changed[execution_id] = Change(new=True, head=True)
        if execution.approval_level > 0:
            request = approval_request(execution, now)
            decision.emit("execution.approval_requested", request)
        advance(decision, everything=True)
        self._write(decision, out)

    def _control(self, message: Message, now: float, out: Output) -> None:
        command = decoding.decode_command(message.value())
        if isinstance(command, decoding.Undecodable):
            error_class, text = command.error_class, command.message
            self.writer.dead_letter(out, topics.CONTROL, message, error_class, text)
            return
        route = route_of(command.execution_id)
        if message.key() != route.encode():
            # Without the key the commands of one execution lie in several partitions, and nobody
            # could tell their order.
            text = f"its key must be the route key of the execution, {route}"
            self.writer.dead_letter(out, topics.CONTROL, message, "no_route_key", text)
            return
        home = partition_for(route.encode(), self.count)
        if home != self.number:
            # From a client with another partitioner: all of an execution lie here, in order.
            self.writer.forward(out, topics.CONTROL, message, route, home)
            return
        found = self.store.living.get(command.execution_id)
        known = found or self.store.entry(command.execution_id)
        if known is None:
            text = "no execution with this id is known"
            self.writer.dead_letter(out, topics.CONTROL, message, "unknown_execution", text)
        elif isinstance(command, Rerun | Redrive):
            self._rerun(known, command, now, out)
        elif isinstance(known, Execution):
            self._write(decide_command(known, command, now), out)
        else:
            why = f"the execution has ended as {known.status}"
            refusal = Audit(command.actor, command.type, False, why)
            self._append(known, "audit.decision", refusal, now, out)

    def _rerun(
        self,
        known: Execution | DedupEntry | None,
        command: Rerun | Redrive,
        now: float,
        out: Output,
    ) -> None:
        assert known is not None  # asked before  # noqa: S101
        route = route_of(known.id)
        wanted = command.new_execution_id if isinstance(command, Rerun) else None
        if wanted is None or route_of(wanted) != route or self.store.id_in_use(wanted):
            wanted = self.requests.mint(route, now)
        step = command.step if isinstance(command, Redrive) else command.from_step
        origin = known if isinstance(known, Execution) else self.store.ended(known.id)
        data: Accepted | str = NOT_RERUNNABLE.format(known.status)
        if origin is not None:
            data = rerun_of(origin, step, command.actor, wanted)
        if isinstance(data, Accepted):
            over = self.requests.over_quota(known.tenant, len(data.plan.steps), now)
            data = over.message if over is not None else data
        allowed = not isinstance(data, str)
        told = f"rerun as {wanted}" if isinstance(data, Accepted) else data
        decided = Audit(command.actor, command.type, allowed, told)
        if isinstance(known, Execution):
            decision = Decision(known, now)
            audit(decision, decided.actor, decided.action, allowed, told)
            self._write(decision, out)
        else:
            self._append(known, "audit.decision", decided, now, out)
        if isinstance(data, Accepted):
            self._accept(wanted, known.tenant, data, now, out)

    # -- time ------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """The moment of the next timer."""
        return min(self.timers[0][0], self.expire_at) if self.timers else self.expire_at

    def tick(self, now: float, out: Output) -> None:
        """Run the timers that are due."""
        while self.timers and self.timers[0][0] <= now:
            when, execution_id = heapq.heappop(self.timers)
            if self.scheduled.get(execution_id) == when:
                del self.scheduled[execution_id]
            execution = self.store.living.get(execution_id)
            if execution is None or execution.status in ENDED or execution_id in self.suspended:
                continue
            due = next_deadline(execution)
            if due is not None and due <= now:
                try:
                    decision = decide_deadline(execution, now)
                except Exception as error:
                    raise DecisionError(execution_id) from error
                self._write(decision, out)
            if execution.status not in ENDED:
                self._schedule(execution, next_deadline(execution))
        if self.expire_at <= now:
            expired, more = self.store.expire(now)
            self.expire_at = now + (0.05 if more else EXPIRE_SECONDS)
            self.writer.changelog(out, self.number, expired)

    def suspend(self, key: str) -> None:
        """Run no timer of this execution until a record changes it."""
        self.suspended.add(key)

    def _schedule(self, execution: Execution, when: float | None) -> None:
        if when is None or self.scheduled.get(execution.id, float("inf")) <= when:
            return
        self.scheduled[execution.id] = when
        heapq.heappush(self.timers, (when, execution.id))

    def _drop_stale_timers(self) -> None:
        """Forget timers that earlier ones replaced, or whose executions have ended."""
        if len(self.timers) > 1_000 + 2 * len(self.scheduled):
            self.timers = [(due, name) for name, due in self.scheduled.items()]
            heapq.heapify(self.timers)

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, decision: Decision, out: Output) -> None:
        """Send what was decided, and note what the changelog must say about it."""
        execution = decision.execution
        self.suspended.discard(execution.id)
        if decision.events:
            self.writer.events(out, decision.events, self.number)
        self.writer.effects(out, decision)
        if not decision.events:
            return
        change = self.changed.get(execution.id)
        if change is None:
            change = self.changed[execution.id] = Change()
        change.head |= decision.head_changed
        change.steps.update(decision.changed_steps)
        if execution.status in ENDED:
            self.scheduled.pop(execution.id, None)
            return
        # Whatever holds or frees the execution as a whole moves the timers of all its steps.
        steps = None
        if not decision.head_changed:
            steps = [execution.steps[name] for name in decision.changed_steps]
        self._schedule(execution, next_deadline(execution, steps))

    def flush(self, out: Output) -> None:
        """Write the changelog of everything that changed in this batch."""
        for execution_id, change in self.changed.items():
            execution = self.store.living[execution_id]
            if execution.status in ENDED:
                found = self.store.end(execution, change)
            else:
                found = records(execution, change)
            self.writer.changelog(out, self.number, found)
            execution.plan.encoded = None
        self.changed.clear()
        self._drop_stale_timers()


def approval_request(execution: Execution, now: float) -> ApprovalRequested:
    """The data of `execution.approval_requested`."""
    timings = policy.timings(execution.sla_class, execution.action_class)
    return ApprovalRequested(
        level=execution.approval_level,
        plan_hash=execution.plan_hash,
        requested_by=execution.actor,
        expires_at=iso(now + timings.approval),
    )
