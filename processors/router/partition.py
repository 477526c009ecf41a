"""One partition of the router: its executions, and what a record does to them.

This is the shell around the decisions: it decodes, finds the execution, lets the pure modules
decide, and turns events and effects into records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Message
from prometheus_client import Counter

from authority.identity import Forged, Identity, Said, Vouched, behind, identify
from processors.router import decoding
from processors.router.answers import Answers
from processors.router.approval import approval_request
from processors.router.authentication import (
    Authentication,
    domain_of,
    forged_series,
    refuse_control,
)
from processors.router.authorisation import control
from processors.router.changelog import Change, records
from processors.router.commands import decide_command
from processors.router.deadlines import decide_deadline, look_again, next_deadline, restore_leases
from processors.router.decision import Decision
from processors.router.entries import DedupEntry
from processors.router.event_traces import EventTrace, begin, begin_execution, trace_of
from processors.router.lock_answers import decide_lock_answer
from processors.router.locks import give_back
from processors.router.metrics import request_series
from processors.router.outcomes import Accept, Explain, Forward, Refuse, Repeat
from processors.router.reports import decide_report
from processors.router.requests import RequestHandler
from processors.router.reruns import decide_rerun
from processors.router.scheduling import advance
from processors.router.started import ended, not_started
from processors.router.state import Execution
from processors.router.store import Restorer, StateStore
from processors.router.timers import Timers
from processors.router.writing import Writer
from runtime.kafka.parts import Part, record_of
from runtime.kafka.processor import DecisionError, Output
from runtime.trace_settings import Sampling
from streams import topics
from streams.actors import ANONYMOUS
from streams.audit_payloads import SIGNATURE_RULE, Audit
from streams.commands import Redrive, Rerun
from streams.ids import is_execution_id, partition_for, route_of
from streams.lifecycle import ASIDES, ENDED
from streams.payloads import Payload
from streams.reports import RejectedCommand

#: Entries of ended executions are looked through for expired ones this often, in seconds.
EXPIRE_SECONDS: Final = 60.0

_UNKNOWN = Counter("runstream_reports_unknown_total", "Reports of executions not known here")
#: Of one execution so many refused records are written down; the others are only counted.
MAX_FORGED: Final = 20


@dataclass(slots=True)
class RouterPartition:
    """The router's work on the partitions of one number."""

    number: int
    count: int
    prefix: str
    writer: Writer
    store: StateStore
    requests: RequestHandler
    authentication: Authentication
    traces: Sampling | None = None
    timers: Timers = field(default_factory=Timers)
    expire_at: float = 0.0
    #: Executions that changed in this batch: what the changelog must say, written once a batch.
    changed: dict[str, Change] = field(default_factory=dict)
    #: Executions whose timers failed to run; a record that changes one sets it free again.
    suspended: set[str] = field(default_factory=set)
    answers: Answers = field(init=False)
    _restorer: Restorer | None = None
    _refused: Message | None = None

    def __post_init__(self) -> None:
        """Nothing is restored yet."""
        self.answers = Answers(self.number, self.count, self.writer, self.store)

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
            self.timers.set(execution.id, next_deadline(execution))

    # -- records ---------------------------------------------------------------------------------

    def handle(self, message: Message, now: float, out: Output) -> None:
        """Decide about one record of a source topic."""
        name = str(message.topic())[len(self.prefix) :]
        if name == topics.REPORTS.name:
            self._report(message, now, out)
        elif name == topics.REQUESTS.name:
            self._request(message, now, out)
        elif name == topics.LOCK_GRANTS.name:
            self._lock_answer(message, now, out)
        else:
            self._control(message, now, out)

    def dead_letter(self, message: Message, error_class: str, out: Output) -> None:
        """Send a record on which a decision failed to its dead-letter topic."""
        topic = topics.TOPICS[str(message.topic())[len(self.prefix) :]]
        text = "the router could not decide about it; the error is in the router's log"
        if error_class == "decision_crashed":
            text = "the router's process ended each time that it decided about it"
        self.writer.dead_letter(out, topic, record_of(message), error_class, text)

    def _report(self, message: Message, now: float, out: Output) -> None:
        report = decoding.decode_report(message.value())
        if isinstance(report, decoding.Undecodable):
            self._refuse_report(message, report.error_class, report.message, out)
            return
        execution = self.store.living.get(report.execution_id)
        entry = None if execution is not None else self.store.entry(report.execution_id)
        known = execution or entry
        if known is None:
            self.writer.counts.add(_UNKNOWN)
            return
        signed_at = self.authentication.report_time(message, domain_of(known, report.step), now)
        if isinstance(signed_at, Forged):
            self._refuse_report(message, "not_authentic", signed_at.message, out)
            self._forged(known, "report", signed_at.message, now, out)
            return
        if isinstance(report, RejectedCommand):
            action = "cancel_step" if report.record == "cancel" else "command"
            self._forged(known, action, report.message, now, out)
            return
        if execution is not None:
            self._write(decide_report(execution, report, signed_at, now), out)
            return
        assert entry is not None  # one of both is known  # noqa: S101
        self.answers.late(entry, report, now, out)

    def _refuse_report(self, message: Message, error_class: str, why: str, out: Output) -> None:
        """A record with several reports becomes one dead letter, as a whole: it is signed so."""
        record = record_of(message)
        if record is not self._refused:
            said = f"line {message.number}: {why}" if isinstance(message, Part) else why
            self.writer.dead_letter(out, topics.REPORTS, record, error_class, said)
            self._refused = record

    def _forged(
        self,
        known: Execution | DedupEntry,
        action: str,
        why: str,
        now: float,
        out: Output,
        claimed: str | None = None,
    ) -> None:
        """Write down that a record about this execution was refused; that changes nothing else."""
        self.writer.counts.add(forged_series(action))
        if known.forged >= MAX_FORGED:
            return
        data = Audit(ANONYMOUS, action, False, why, rule=SIGNATURE_RULE, claimed_actor=claimed)
        if isinstance(known, DedupEntry):
            known.forged += 1
        self._aside(known, "audit.decision", data, now, out)

    def _lock_answer(self, message: Message, now: float, out: Output) -> None:
        answer = decoding.decode_lock_answer(message.value())
        if isinstance(answer, decoding.Undecodable):
            error_class, text = answer.error_class, answer.message
            self.writer.dead_letter(out, topics.LOCK_GRANTS, message, error_class, text)
            return
        execution = self.store.living.get(answer.execution_id)
        if execution is not None and execution.status not in ENDED:
            self._write(decide_lock_answer(execution, answer, now), out)
        elif (unwanted := give_back(answer)) is not None:
            self.writer.ask_keeper(out, unwanted, now)

    def _request(self, message: Message, now: float, out: Output) -> None:
        signer = self.authentication.signer(message, topics.REQUESTS, now)
        outcome = self.requests.decide(message.value(), signer, now)
        if isinstance(signer, Vouched) and signer.role == "router":
            self.writer.tell_schedule(not_started(outcome, message.value()), now)
        match outcome:
            case decoding.Undecodable(error_class, text):
                self.writer.counts.add(request_series("dead_letter"))
                self.writer.dead_letter(out, topics.REQUESTS, message, error_class, text)
            case Forward(route, home):
                self.writer.forward(out, topics.REQUESTS, message, route, home)
            case Accept() as accepted:
                self.writer.counts.add(request_series("accepted"))
                self._accept(accepted, now, out, message)
            case Explain() as explained:
                self.writer.counts.add(request_series("explained"))
                self.answers.write(explained, now, out)
            case Repeat(known, duplicate):
                self.writer.counts.add(request_series("duplicate"))
                self._aside(known, "execution.duplicate", duplicate, now, out)
            case Refuse() as refusal:
                self.writer.counts.add(request_series("rejected"))
                if refusal.data.reason == "not_authentic":
                    self.writer.counts.add(forged_series("request"))
                trace = begin(self.traces, message, refusal.execution_id, now)
                self.answers.write(refusal, now, out, trace)

    def _accept(self, found: Accept, now: float, out: Output, message: Message) -> None:
        decision = Decision.accept(found.execution_id, found.tenant, found.data, now)
        execution = decision.execution
        decision.emit("audit.decision", found.audit)
        self.store.put(execution)
        self.changed[execution.id] = Change(new=True, head=True)
        if execution.approval_level > 0:
            request = approval_request(execution, now)
            decision.emit("execution.approval_requested", request)
        advance(decision, everything=True)
        self._write(decision, out, begin_execution(self.traces, message, execution, now))

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
            return
        signed = self.authentication.signer(message, topics.CONTROL, now)
        said = Said(command.schedule, command.on_behalf_of)
        signer = behind(signed, said, self.authentication.of_key, now)
        wrong = refuse_control(signer, known, command.actor, self.requests.require_signatures)
        if wrong is not None:
            self._forged(known, command.type, wrong, now, out, command.actor)
            return
        assert not isinstance(signer, Forged)  # refused above  # noqa: S101
        if signer is not None:
            # Every command that is followed leads to an event, and so to a record of this.
            known.signed[signer.clock] = signer.signed_at
        identity = identify(signer, known.tenant, command.actor)
        if isinstance(command, Rerun | Redrive):
            self._rerun(known, command, identity, now, out, message)
        elif isinstance(known, Execution):
            verdict = control(self.requests.policy(), identity, known, command.type)
            tools = self.requests.plans.registry
            self._write(decide_command(known, command, identity, verdict, now, tools), out)
        else:
            self.answers.too_late(known, identity, command.type, now, out)

    def _rerun(
        self,
        known: Execution | DedupEntry,
        command: Rerun | Redrive,
        identity: Identity,
        now: float,
        out: Output,
        message: Message,
    ) -> None:
        route = route_of(known.id)
        wanted = command.new_execution_id if isinstance(command, Rerun) else None
        good = wanted is not None and is_execution_id(wanted) and route_of(wanted) == route
        if wanted is None or not good or self.store.id_in_use(wanted):
            # Whatever else it is would be a key of the changelog that nobody could read again.
            wanted = self.requests.mint(route, now)
        origin = known if isinstance(known, Execution) else self.store.ended(known.id)
        steps = 0 if origin is None else origin.plan.size
        over = self.requests.over_quota(identity, steps, now)
        found = decide_rerun(
            known,
            origin,
            command,
            identity,
            wanted,
            self.requests.policy(),
            self.requests.plans.registry,
            None if over is None else over.message,
        )
        self._aside(known, "audit.decision", found.audit, now, out)
        if found.run is not None:
            data, audit = found.run
            self._accept(Accept(wanted, known.tenant, data, audit), now, out, message)

    # -- time ------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """The moment of the next timer."""
        first = self.timers.next()
        return self.expire_at if first is None else min(first, self.expire_at)

    def tick(self, now: float, out: Output) -> None:
        """Run the timers that are due."""
        for execution_id in self.timers.due(now):
            execution = self.store.living.get(execution_id)
            if execution is None or execution.status in ENDED or execution_id in self.suspended:
                continue
            due = next_deadline(execution)
            if due is not None and due <= now:
                try:
                    decision = decide_deadline(execution, now)
                    due = look_again(decision)
                except Exception as error:
                    raise DecisionError(execution_id) from error
                self._write(decision, out)
            self.timers.set(execution.id, due)
        if self.expire_at <= now:
            expired, more = self.store.expire(now)
            self.expire_at = now + (0.05 if more else EXPIRE_SECONDS)
            self.writer.changelog(out, self.number, expired)

    def suspend(self, key: str) -> None:
        """Run no timer of this execution until a record changes it."""
        self.suspended.add(key)

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, decision: Decision, out: Output, trace: EventTrace | None = None) -> None:
        """Send what was decided, and note what the changelog must say about it."""
        execution = decision.execution
        self.suspended.discard(execution.id)
        if decision.events:
            aside = execution.status in ENDED and decision.events[-1].type in ASIDES
            trace = trace or trace_of(execution)
            execution.chain = self.writer.events(
                out, decision.events, self.number, execution.chain, ended=aside, trace=trace
            )
        self.writer.effects(out, decision)
        if not decision.events:
            return
        self.writer.decisions.decided(decision)
        change = self.changed.get(execution.id)
        if change is None:
            change = self.changed[execution.id] = Change()
        change.head |= decision.head_changed
        change.steps.update(decision.changed_steps)
        if execution.status in ENDED:
            self.timers.forget(execution.id)
            self.writer.tell_schedule(ended(execution, decision.events), decision.now)
            return
        # Whatever holds or frees the execution as a whole moves the timers of all its steps.
        steps = None
        if not decision.head_changed:
            steps = [execution.steps[name] for name in decision.changed_steps]
        self.timers.set(execution.id, next_deadline(execution, steps))

    def _aside(
        self, known: Execution | DedupEntry, kind: str, data: Payload, now: float, out: Output
    ) -> None:
        """One more event of an execution, which changes nothing about how it goes on."""
        if isinstance(known, Execution):
            decision = Decision(known, now)
            decision.emit(kind, data)
            self._write(decision, out)
        else:
            self.answers.append(known, kind, data, now, out)

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
        self.writer.signed.flush(out)
        self.timers.drop_stale()
