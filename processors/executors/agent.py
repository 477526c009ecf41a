"""The agent: runs the claimed attempts on one event loop and reports how each ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from drivers.context import Driver, Failure, Outcome, RunContext, Success
from drivers.masking import Masker
from drivers.resources import Resources
from processors.executors import (
    attempt_spans,
    attempts,
    final_report,
    large_output,
    metrics,
    reports,
)
from processors.executors.attempts import Attempt
from processors.executors.cancellations import Cancellations
from processors.executors.hold_reports import HoldReports
from processors.executors.keyed_semaphore import KeyedSemaphore
from processors.executors.lane import Claimed, Lane
from processors.executors.masked_output import MaskedPublisher, masked
from processors.executors.reports import Reports, Tokens
from processors.executors.result_sender import ResultSender
from processors.executors.secret_reports import SecretReports
from runtime import clock
from runtime.kafka import clients
from runtime.kafka.publisher import DeliveryError, Publisher, PublisherFull
from runtime.logs import Log
from runtime.settings import ExecutorSettings
from streams.commands import CancelStep
from streams.topics import OUTPUT, REPORTS

#: How often deadlines, heartbeats and overdue clean-ups of all attempts are checked.
TICK_SECONDS: Final = 0.1
#: Attempts of which a tick tells progress before their lease needs it: fifty a second.
MOST_PROGRESS: Final = 5
#: How long a driver may clean up after the grace before its attempt is reported without it.
CLEANUP_SECONDS: Final = 60.0
#: The parts of a drain's last seconds: until SIGKILL, and until an attempt is reported without
#: its driver.
_GRACE_SHARE: Final = 0.35
_STOP_SHARE: Final = 0.7
#: Results in flight beyond which nothing more is claimed.
MAX_UNREPORTED: Final = 10_000


class Agent:
    """All attempts of this process; every method but `may_claim` belongs to the loop's thread."""

    def __init__(
        self,
        settings: ExecutorSettings,
        log: Log,
        publisher: Publisher,
        resources: Resources,
        drivers: Mapping[str, Driver],
        cancellations: Cancellations,
        tokens: Tokens,
    ) -> None:
        """Nothing runs, and no timer: deadlines are watched while there are attempts."""
        self._settings = settings
        self._log = log
        self._publisher = publisher
        self._resources = resources
        self._drivers = drivers
        self._cancellations = cancellations
        self._reports = Reports(settings.instance, tokens)
        self._reports_topic = clients.topic_name(settings, REPORTS)
        self._output_topic = clients.topic_name(settings, OUTPUT)
        self._results = ResultSender(publisher, self._reports_topic, log, self._reports)
        self._permits = KeyedSemaphore(settings.target_concurrency)
        self._hold_reports = HoldReports(publisher, self._reports_topic, self._reports)
        self._secret_reports = SecretReports(publisher, self._reports_topic, self._reports)
        self._running: dict[str, Attempt] = {}
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.Future[None] | None = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        metrics.UNREPORTED.set_function(lambda: self._results.waiting)

    @property
    def running(self) -> int:
        """How many attempts have not ended."""
        return len(self._running)

    def may_claim(self) -> bool:
        """Whether results leave fast enough to claim more; from any thread."""
        return self._results.waiting < MAX_UNREPORTED

    def begin(self, lane: Lane, batch: list[Claimed]) -> None:
        """Start what was claimed; its claims are committed."""
        if self._closed:
            self._log.error("claimed too late to start", attempts=len(batch))
            return
        for claimed in batch:
            self._begin(lane, claimed)

    def cancel(self, attempt_id: str, cancel: CancelStep) -> None:
        """Stop the attempt if it is here."""
        attempt = self._running.get(attempt_id)
        if attempt is not None:
            self._stop(attempt, cancel)

    def report_forged(self, attempt_id: str) -> None:
        """Report the cancels of this attempt that no router has signed, if the attempt is here."""
        attempt = self._running.get(attempt_id)
        if attempt is None:
            return
        time = clock.iso(round(clock.now(), 3))
        for number, why in self._cancellations.forged.take(attempt_id):
            record = self._reports.record(
                attempt.command, "rejected_command", time, attempt.traceparent, number,
                record="cancel", message=why[:2_000],
            )  # fmt: skip
            self._results.send(record)

    async def drain(self, finish_seconds: float, clean_seconds: float) -> int:
        """Let attempts finish, then stop the rest; returns how many results were not delivered."""
        await self._wait_idle(finish_seconds)
        over = self._loop.time() + clean_seconds
        for attempt in [*self._running.values()]:
            self._log.warning("stopped by drain", **attempt.names())
            attempt.end("drained", clock.monotonic(), grace_seconds=clean_seconds * _GRACE_SHARE)
        await self._wait_idle(clean_seconds * _STOP_SHARE)
        for attempt in [*self._running.values()]:
            self._report_without_driver(attempt)
        self._closed = True
        return await self._results.flush(max(0.0, over - self._loop.time()))

    def _begin(self, lane: Lane, claimed: Claimed) -> None:
        start = claimed.start
        masker = Masker(
            start.invocation.secrets, self._resources.secrets.known, self._resources.patterns
        )
        output = MaskedPublisher(
            masker,
            start.command,
            topic=self._output_topic,
            source=self._reports.source,
            publish=self._publisher.publish,
            allow=partial(self._resources.output_quota.take, start.command.tenant),
        )
        context = RunContext(start.command, output, self._resources, _no_progress, masker=masker)
        attempt = attempts.new_attempt(
            start, lane.slots, claimed.traceparent, claimed.at, output, context
        )
        attempt.place = claimed.place
        context.hold = partial(self._hold_reports.hold, attempt)
        context.secrets_used = partial(self._secret_reports.tell, attempt)
        self._running[start.attempt_id] = attempt
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        attempt.task = self._loop.create_task(self._run(attempt))
        cancel = self._cancellations.get(start.attempt_id)
        if cancel is not None:
            # The cancel arrived after the claim was decided and before it was committed.
            self._stop(attempt, cancel)
        self.report_forged(start.attempt_id)

    async def _run(self, attempt: Attempt) -> None:
        driver = self._drivers[attempt.invocation.driver]
        attempt_spans.record(attempt)
        outcome = await attempts.perform(attempt, driver, self._permits)
        attempt.outcome, attempt.performed = outcome, True
        try:
            outcome, attempt.encoded = await large_output.fit(outcome, attempt.output)
            attempt.outcome = outcome
            if attempt.output.bytes_total:
                await attempt.output.close()
            self._finish(attempt, outcome)
        except Exception:
            # What the driver returned cannot be reported: a defect of this module or the driver.
            self._log.exception("result cannot be reported", **attempt.names())
            self._finish(attempt, Failure("internal", "The result cannot be reported."))

    def _report_without_driver(self, attempt: Attempt) -> None:
        """Report an attempt whose driver does not end its clean-up."""
        if not attempt.performed:
            seconds = clock.monotonic() - attempt.ending_at
            attempt.context.evidence["cancel_unconfirmed"] = (
                f"the clean-up did not end within {seconds:.1f} s"
            )
        self._log.error("clean-up does not end", **attempt.names())
        self._finish(attempt, attempt.outcome)

    def _finish(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """Report the end and release the slot; does nothing where it was reported before."""
        if attempt.reported:
            return
        duration = clock.monotonic() - attempt.claimed_at
        masker = attempt.context.masker
        outcome = masked(masker, outcome)
        kind, fields = final_report.result(attempt, outcome)
        failure: Failure | None = fields.pop("failure", None)
        output = outcome.output if isinstance(outcome, Success) else None
        if failure is not None:
            output = failure.output
            fields["error"] = reports.error(failure.error_class, failure.message, failure.transient)
            if failure.denied is not None:
                fields["denied"] = reports.secret_use(failure.denied)
        if "evidence" in fields:
            fields["evidence"] = reports.evidence(masker.value(fields["evidence"]))
        record = self._record(
            attempt, kind, fields, final_report.end_fields(attempt, duration, output)
        )
        attempt.reported = True
        self._results.send(record)
        del self._running[attempt.start.attempt_id]
        attempt.slots.release()
        metrics.step_seconds(attempt.invocation.tool, kind).observe(duration)
        if kind != "succeeded":
            reason = failure.error_class if failure is not None else attempt.cancel_reason
            self._log.info("step " + kind, reason=reason, **attempt.names())
        attempt_spans.finish(attempt, kind, failure)
        if self._idle is not None and not self._running:
            self._idle.set_result(None)
            self._idle = None

    def _record(
        self, attempt: Attempt, kind: str, fields: dict[str, Any], common: dict[str, Any]
    ) -> reports.Record:
        time = clock.iso(round(clock.now(), 3))
        return self._reports.record(
            attempt.command, kind, time, attempt.traceparent, **fields, **common
        )

    def _stop(self, attempt: Attempt, cancel: CancelStep) -> None:
        ending: attempts.Ending = "superseded" if cancel.reason == "superseded" else "cancelled"
        attempt.end(ending, clock.monotonic(), cancel.reason, cancel.grace_seconds)

    def _tick(self) -> None:
        if not self._running:
            self._timer = None
            return
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        now = clock.monotonic()
        due: list[Attempt] = []
        told = 0
        for attempt in [*self._running.values()]:
            if attempt.ending is None:
                if attempt.deadline is not None and now >= attempt.deadline:
                    attempt.end("timed_out", now)
                elif attempt.held and now >= attempt.begin_before:
                    attempt.end("expired", now)
            elif now - attempt.ending_at >= attempt.context.stop.grace_seconds + CLEANUP_SECONDS:
                self._report_without_driver(attempt)
                continue
            if attempt.heartbeat_in_flight:
                continue
            if attempt.lease.heartbeat_due(now):
                due.append(attempt)
            elif told < MOST_PROGRESS and attempt.progress_due(now):
                due.append(attempt)
                told += 1
        records = self._reports.sign([self._heartbeat(attempt, now) for attempt in due])
        for attempt, record in zip(due, records, strict=True):
            self._send_heartbeat(attempt, record, now)

    def _heartbeat(self, attempt: Attempt, now: float) -> reports.Record:
        attempt.lease.heartbeat_at = now
        attempt.heartbeats += 1
        attempt.told = (attempt.percent, attempt.note)
        return self._reports.record(
            attempt.command,
            "heartbeat",
            clock.iso(round(clock.now(), 3)),
            attempt.traceparent,
            attempt.heartbeats,
            **reports.progress(
                attempt.percent,
                attempt.context.masker.value(attempt.note),
                attempt.output.bytes_total,
            ),
        )

    def _send_heartbeat(self, attempt: Attempt, record: reports.Record, now: float) -> None:
        try:
            self._publisher.publish_soon(
                self._reports_topic, *record, partial(self._heartbeat_delivered, attempt, now)
            )
        except (PublisherFull, DeliveryError):
            return  # the next one holds newer progress
        # One at a time, so that no more than one is in flight while the broker is away.
        attempt.heartbeat_in_flight = True

    def _heartbeat_delivered(
        self, attempt: Attempt, written_at: float, error: DeliveryError | None
    ) -> None:
        attempt.heartbeat_in_flight = False
        if error is None:
            attempt.lease.renew(written_at, clock.monotonic())

    async def _wait_idle(self, timeout_seconds: float) -> None:
        if self._running:
            self._idle = self._idle or self._loop.create_future()
            await asyncio.wait((self._idle,), timeout=timeout_seconds)


def _no_progress(percent: float | None, note: str | None) -> None:
    """Until the attempt is made that keeps it."""
