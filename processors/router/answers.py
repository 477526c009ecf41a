"""Answers that are of no living execution.

Rejections and explanations, each under an id of its own, and events of executions that have ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from authority.identity import Identity
from processors.router.authorisation import audit_of, other_tenant
from processors.router.changelog import entry_record
from processors.router.entries import DedupEntry
from processors.router.event_traces import EventTrace
from processors.router.outcomes import Explain, Refuse
from processors.router.reports import decide_late_report, secret_denied
from processors.router.store import StateStore
from processors.router.writing import Writer
from runtime.kafka.processor import Output
from streams.events import Event
from streams.ids import partition_for, route_of
from streams.payloads import Payload
from streams.reports import AnyReport, Failed
from streams.timestamps import iso


@dataclass(frozen=True, slots=True)
class Answers:
    """Writes the answers of one partition."""

    number: int
    count: int
    writer: Writer
    store: StateStore

    def write(
        self, answer: Refuse | Explain, now: float, out: Output, trace: EventTrace | None = None
    ) -> None:
        """All events of the answer's id, in the partition of its route."""
        status = "explained" if isinstance(answer, Explain) else "rejected"
        payloads: list[tuple[str, Payload]] = [(f"execution.{status}", answer.data)]
        if isinstance(answer, Refuse) and answer.audit is not None:
            payloads.append(("audit.decision", answer.audit))
        ident, tenant = answer.execution_id, answer.tenant
        events = [
            Event(ident, seq, kind, iso(now), tenant, data)
            for seq, (kind, data) in enumerate(payloads, 1)
        ]
        home = partition_for(route_of(ident).encode(), self.count)
        chain = self.writer.events(out, events, home, None, trace=trace)
        if answer.keep:
            # The client chose the id: no execution gets it from now on.
            entry = DedupEntry(ident, tenant, None, "", status, len(payloads), now, chain=chain)
            self.store.put_entry(entry)
            self.writer.changelog(out, self.number, [entry_record(entry)])

    def too_late(
        self, entry: DedupEntry, identity: Identity, action: str, now: float, out: Output
    ) -> None:
        """A control command comes after the end of its execution."""
        why, rule = f"the execution has ended as {entry.status}", None
        if identity.tenant != entry.tenant:
            refused = other_tenant(identity)
            why, rule = refused.message, refused.rule
        data = audit_of(identity, action, False, why, rule, f"execution/{entry.id}")
        self.append(entry, "audit.decision", data, now, out)

    def late(self, entry: DedupEntry, report: AnyReport, now: float, out: Output) -> None:
        """What a report of an ended execution says, where it is news."""
        data = decide_late_report(entry, report)
        if data is None:
            return
        step, attempt = report.step, report.attempt
        if isinstance(report, Failed) and report.denied is not None:
            denied = secret_denied(report, self.store.ended(entry.id))
            if denied is not None:
                self.append(entry, "audit.decision", denied, now, out, step, attempt)
        self.append(entry, "step.late_result", data, now, out, step, attempt)

    def append(
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
        event = Event(entry.id, entry.seq, kind, iso(now), entry.tenant, data, step, attempt)
        entry.chain = self.writer.events(out, [event], self.number, entry.chain, ended=True)
        self.store.put_entry(entry)
        self.writer.changelog(out, self.number, [entry_record(entry)])
