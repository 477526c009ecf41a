"""One attempt from its claim to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Literal

from drivers import asset_environments, lock_names
from drivers.context import GRACE_SECONDS, Driver, Failure, Outcome, RunContext
from drivers.output import OutputPublisher
from processors.executors import lease
from processors.executors.claim import Place, Start
from processors.executors.keyed_semaphore import KeyedSemaphore
from processors.executors.large_output import Encoded
from processors.executors.lease import Lease
from processors.executors.resolving import resolved
from processors.executors.slots import Slots
from runtime import clock
from runtime.recording import Recording
from streams.commands import StepCommand
from streams.trace_context import parsed
from toolmeta.invocation import Invocation

#: Why the agent ended an attempt before its driver did.
Ending = Literal["cancelled", "superseded", "timed_out", "drained", "expired"]


class NotBegun(Exception):
    """The attempt may not begin any more; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        """Nothing was done."""
        super().__init__(failure.message)
        self.failure = failure


#: Progress is told at most so often, and no more often than after this part of what has passed.
PROGRESS_SECONDS: Final = 2.0
PROGRESS_PART: Final = 100.0


@dataclass(slots=True)
class Attempt:
    """What the agent knows of an attempt that it claimed; all times are monotonic seconds."""

    start: Start
    slots: Slots
    traceparent: bytes | None
    claimed_at: float
    #: An attempt that is held back begins before this or not at all.
    begin_before: float
    lease: Lease
    output: OutputPublisher
    context: RunContext
    #: When the time limit is over; None where it does not run.
    deadline: float | None = None
    task: asyncio.Task[None] | None = None
    #: The driver may act: there may be an effect.
    began: bool = False
    #: It waits for something outside this process, and has not begun.
    held: bool = False
    #: How many `waiting` and `resumed` reports were made.
    changes: int = 0
    #: How many reports of used secrets were made.
    secret_reports: int = 0
    #: With its secrets, once they are resolved.
    bound: Invocation | None = None
    #: The task has run its first line; before that a cancel would skip its every handler.
    entered: bool = False
    #: The driver has returned; its outcome stands, whoever wants to end the attempt now.
    performed: bool = False
    outcome: Outcome | None = None
    #: The output of that outcome as it was encoded, where it fits a result.
    encoded: Encoded | None = None
    ending: Ending | None = None
    ending_at: float = 0.0
    cancel_reason: str | None = None
    reported: bool = False
    heartbeats: int = 0
    #: A heartbeat is in flight.
    heartbeat_in_flight: bool = False
    percent: float | None = None
    note: str | None = None
    #: Where its command was read, and what it does, where it is traced.
    place: Place | None = None
    recording: Recording | None = None
    #: What the last heartbeat said of them.
    told: tuple[float | None, str | None] = (None, None)

    @property
    def command(self) -> StepCommand:
        """The command that was claimed."""
        return self.start.command

    @property
    def invocation(self) -> Invocation:
        """What the driver is to do, as far as it is known."""
        return self.bound or self.start.invocation

    def progress(self, percent: float | None, note: str | None) -> None:
        """Keep the newest progress for the next heartbeat."""
        self.percent = percent
        self.note = note

    def progress_due(self, now: float) -> bool:
        """Whether there is progress to tell before the lease needs a heartbeat.

        At most every two seconds, and the longer it runs the less often: some hundred times a step.
        """
        since = now - self.lease.heartbeat_at
        if since < PROGRESS_SECONDS or (self.percent, self.note) == self.told:
            return False
        return since >= (now - self.claimed_at) / PROGRESS_PART

    def begin(self, now: float) -> None:
        """Let the driver act and start its time limit; raises NotBegun where the lease is over.

        By then the router may have started another attempt.
        """
        if not self.lease.holds(now):
            raise NotBegun(lease_lost())
        if self.held and now >= self.begin_before:
            raise NotBegun(expired())
        self.held = False
        self.began = True
        self.deadline = now + self.command.timeout_seconds

    def wait(self) -> None:
        """Stop the time limit: nothing has an effect before the next `begin`."""
        self.held = True
        self.began = False
        self.deadline = None

    def end(
        self,
        ending: Ending,
        now: float,
        cancel_reason: str | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """Stop it; the first reason stands, and the driver cleans up before it ends.

        Does nothing once the driver has returned.
        """
        if self.ending is not None or self.performed or self.reported:
            return
        self.ending = ending
        self.ending_at = now
        self.cancel_reason = cancel_reason
        self.context.stop.requested = True
        self.context.stop.grace_seconds = grace_seconds
        if self.entered and self.task is not None:
            self.task.cancel()

    def names(self) -> dict[str, Any]:
        """The fields that name this attempt in a log line."""
        command = self.command
        found = {
            "execution": command.execution_id,
            "step": command.step,
            "attempt": command.attempt,
        }
        if self.traceparent is not None:
            context = parsed(self.traceparent) if self.recording is None else self.recording.context
            found |= {"trace_id": context.trace_id, "span_id": context.span_id}
        return found


async def perform(attempt: Attempt, driver: Driver, permits: KeyedSemaphore) -> Outcome | None:
    """Run the driver once, with a permit of its target; None where `attempt.ending` ended it."""
    target = attempt.command.target
    context = attempt.context
    permitted = False
    attempt.entered = True
    try:
        if attempt.ending is not None:
            return None
        # Before the permit of its target, which others could use meanwhile.
        await context.resources.pacing.step(context)
        if target is not None:
            permitted = permits.try_acquire(target)
            if not permitted:
                with context.hold("target_limit", _busy(target, permits)):
                    await permits.acquire(target)
                    permitted = True
        refused = await asset_environments.refusal(attempt.invocation, context)
        if refused is None:
            refused = await lock_names.refusal(attempt.invocation, context)
        if refused is not None:
            return refused
        if attempt.start.unresolved is not None:
            bound = await resolved(attempt.start.unresolved, context)
            if isinstance(bound, Failure):
                return bound
            attempt.bound = bound
        if context.stop.requested:
            return None  # A library lost the cancellation; see RunContext.acting.
        attempt.begin(clock.monotonic())
        return await driver.run(attempt.invocation, context)
    except NotBegun as refused:
        return refused.failure
    except asyncio.CancelledError:
        if attempt.ending is None:
            return Failure("internal", "The driver gave up without being asked to.")
        return None
    except Exception as error:
        # Its text could hold anything, a secret among it; its type cannot.
        kind = type(error).__name__
        if attempt.ending is None:
            return Failure("internal", f"The driver failed with {kind}.")
        context.stop.ended = False
        context.evidence["cancel_unconfirmed"] = f"the driver failed with {kind} while it stopped"
        return None
    finally:
        if permitted and target is not None:
            permits.release(target)


def _busy(target: str, permits: KeyedSemaphore) -> str:
    used, waiting = permits.used(target), permits.waiting(target)
    others = "1 other attempt" if used == 1 else f"{used} other attempts"
    text = f"{target} is busy with {others} of this executor"
    return f"{text}; {waiting} wait before this one" if waiting else text


def lease_lost() -> Failure:
    """The attempt was not begun, since its lease was over."""
    return Failure(
        "lease_lost",
        "The lease was over before the attempt could begin; nothing was done.",
        transient=True,
    )


def expired() -> Failure:
    """The attempt was not begun, since it was held back until its command expired."""
    return Failure(
        "expired",
        "The attempt was held back until its command expired; nothing was done.",
        transient=True,
    )


def new_attempt(
    start: Start,
    slots: Slots,
    traceparent: bytes | None,
    at: float,
    output: OutputPublisher,
    context: RunContext,
) -> Attempt:
    """A new attempt, claimed at `at`."""
    command = start.command
    valid = (command.expires_at - command.dispatched_at).total_seconds()
    left = command.expires_at.timestamp() - clock.now()
    if not 0 < left <= valid:
        # It was valid at the claim, so the clocks of router and executor differ; the length counts.
        left = valid
    attempt = Attempt(
        start=start,
        slots=slots,
        traceparent=traceparent,
        claimed_at=at,
        begin_before=clock.monotonic() + left,
        lease=lease.new_lease(command.lease_seconds, at),
        output=output,
        context=context,
    )
    context.report_progress = attempt.progress
    return attempt
