"""One attempt from its claim to its report."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from drivers.context import Driver, Failure, Outcome, RunContext, Success
from drivers.output import OutputPublisher
from processors.executors import lease
from processors.executors.claim import Start
from processors.executors.lease import Lease
from processors.executors.slots import Slots
from processors.executors.targets import Targets
from runtime import clock
from streams.commands import StepCommand
from toolmeta.invocation import Invocation

#: Why the agent ended an attempt before its driver did.
Ending = Literal["cancelled", "superseded", "timed_out", "drained"]


@dataclass(slots=True)
class Attempt:
    """What the agent knows of an attempt that it claimed; all moments are monotonic seconds."""

    start: Start
    slots: Slots
    traceparent: bytes | None
    claimed_at: float
    deadline: float
    lease: Lease
    output: OutputPublisher
    context: RunContext
    task: asyncio.Task[None] | None = None
    #: The driver was called: there may be an effect.
    began: bool = False
    #: The task has run its first line; before that a cancel would skip its every handler.
    entered: bool = False
    ending: Ending | None = None
    ending_at: float = 0.0
    why: str | None = None
    reported: bool = False
    beats: int = 0
    #: A heartbeat is on its way.
    beating: bool = False
    percent: float | None = None
    note: str | None = None

    @property
    def command(self) -> StepCommand:
        """The command that was claimed."""
        return self.start.command

    @property
    def invocation(self) -> Invocation:
        """What the driver is to do."""
        return self.start.invocation

    def progress(self, percent: float | None, note: str | None) -> None:
        """Keep the newest progress for the next heartbeat."""
        self.percent = percent
        self.note = note

    def end(self, ending: Ending, now: float, why: str | None = None) -> None:
        """Stop it; the first reason stands, and the driver cleans up before it ends."""
        if self.ending is not None or self.reported:
            return
        self.ending = ending
        self.ending_at = now
        self.why = why
        if self.entered and self.task is not None:
            self.task.cancel()

    def who(self) -> dict[str, Any]:
        """The names of this attempt for a log line."""
        command = self.command
        return {
            "execution": command.execution_id,
            "step": command.step,
            "attempt": command.attempt,
        }


async def perform(attempt: Attempt, driver: Driver, targets: Targets) -> Outcome | None:
    """Run the driver once, within the limit of its target; None where `attempt.ending` ended it.

    An attempt whose lease is over is not begun: the router may have given its work away.
    """
    target = attempt.command.target
    held = False
    attempt.entered = True
    try:
        if attempt.ending is not None:
            return None
        if target is not None:
            await targets.acquire(target)
            held = True
        if not attempt.lease.holds(clock.monotonic()):
            return lost()
        attempt.began = True
        return await driver.run(attempt.invocation, attempt.context)
    except asyncio.CancelledError:
        if attempt.ending is None:
            return Failure("internal", "The driver gave up without being asked to.")
        return None
    except Exception as error:
        # Its text could hold anything, a secret among it; its type cannot.
        return Failure("internal", f"The driver failed with {type(error).__name__}.")
    finally:
        if held and target is not None:
            targets.release(target)


def lost() -> Failure:
    """The attempt was not begun, since its lease was over."""
    return Failure(
        "lease_lost",
        "The lease was over before the attempt could begin; nothing was done.",
        transient=True,
    )


def result(attempt: Attempt, outcome: Outcome | None) -> tuple[str, dict[str, Any]]:
    """The kind and the own fields of the last report; `outcome` as `perform` gave it."""
    retry = attempt.invocation.retry_safe or not attempt.began
    if isinstance(outcome, Success):
        return "succeeded", {}
    if attempt.ending in ("cancelled", "superseded"):
        evidence = dict(attempt.context.evidence)
        evidence["reason"] = attempt.why or attempt.ending
        evidence["began"] = attempt.began
        return "cancelled", {
            "confirmed": "cancel_unconfirmed" not in evidence,
            "evidence": evidence,
        }
    if attempt.ending == "timed_out":
        seconds = attempt.command.timeout_seconds
        doing = "" if attempt.began else " while it waited for its target; nothing was done"
        failure = Failure("timed_out", f"The time limit of {seconds:g} s passed{doing}.", retry)
    elif attempt.ending == "drained":
        message = "The executor was stopped before the attempt ended."
        failure = Failure("executor_stopped", message, retry)
    elif isinstance(outcome, Failure):
        failure = outcome
    else:
        failure = Failure("internal", "The attempt ended without an outcome.")
    fields: dict[str, Any] = {"failure": failure}
    if attempt.ending is not None:
        fields["timed_out"] = attempt.ending == "timed_out"
        if attempt.context.evidence:
            fields["evidence"] = dict(attempt.context.evidence)
    return "failed", fields


def claimed(
    start: Start,
    slots: Slots,
    traceparent: bytes | None,
    at: float,
    output: OutputPublisher,
    context: RunContext,
) -> Attempt:
    """A new attempt, claimed at `at`."""
    attempt = Attempt(
        start=start,
        slots=slots,
        traceparent=traceparent,
        claimed_at=at,
        deadline=at + start.command.timeout_seconds,
        lease=lease.claimed(start.command.lease_seconds, at),
        output=output,
        context=context,
    )
    context.report_progress = attempt.progress
    return attempt
