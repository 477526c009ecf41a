"""The arguments and results of a driver: the contract between the agent and the drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from drivers.masking import Masker
from drivers.resources import Resources
from streams.commands import StepCommand
from streams.reports import SecretUse
from toolmeta.invocation import Invocation


@dataclass(frozen=True, slots=True)
class Success:
    """The attempt did what it should; `output` is what later steps may reference."""

    output: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The attempt ended without success; `error_class` is one of `errors.ERROR_CLASSES`.

    `transient` says that a new attempt may succeed and is safe. The message never holds a secret.
    """

    error_class: str
    message: str
    transient: bool = False
    output: dict[str, Any] | None = None
    #: The use of a secret that was refused, where the attempt failed by that.
    denied: SecretUse | None = None


Outcome = Success | Failure

#: What a stopped attempt may have changed: nothing, perhaps something, or all that it should.
Effect = Literal["none", "possible", "done"]
#: Why an attempt that has not begun to act is held back.
HoldReason = Literal["target_limit", "rate_limit"]
#: Default time between the request to stop and the forced end, in seconds.
GRACE_SECONDS: Final = 5.0


class OutputWriter(Protocol):
    """Takes the output of a tool from its driver."""

    async def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Publish `data` in order; waits while too much of it is in flight (back-pressure)."""
        ...


@dataclass(slots=True)
class Stop:
    """How an attempt is stopped; the agent writes the first two, its driver the others."""

    #: The attempt is to end: its driver begins nothing more.
    requested: bool = False
    #: What a program gets between SIGTERM and SIGKILL; set before the cancellation arrives.
    grace_seconds: float = GRACE_SECONDS
    #: The state if the attempt is stopped now: whether it is certain that nothing of it still runs,
    #: and what it may have changed. A driver that knows more replaces it.
    ended: bool = False
    effect: Effect = "possible"
    evidence: dict[str, Any] = field(default_factory=dict)


async def _unrecorded(uses: Sequence[SecretUse]) -> None:
    """Outside of an agent nothing is recorded."""


@dataclass(slots=True)
class RunContext:
    """One attempt, for its driver."""

    command: StepCommand
    output: OutputWriter
    resources: Resources
    #: Cheap: may be called at any rate, the agent throttles. Percent (0..100) and a message.
    report_progress: Callable[[float | None, str | None], None]
    #: How the attempt is to be stopped and what is known of that; one object for every copy.
    stop: Stop = field(default_factory=Stop)
    #: Entered while something outside holds the attempt back, before its first effect only: the
    #: router gets the reason, and the time limit does not run. Leaving it too late raises.
    hold: Callable[[HoldReason, str], AbstractContextManager[None]] = field(
        default=lambda reason, message: nullcontext()
    )
    #: Secrets of this attempt: a driver that reveals another one adds it before it uses it.
    masker: Masker = field(default_factory=Masker)
    #: Records that the attempt uses these secrets; awaited before it does. Raises SecretError.
    secrets_used: Callable[[Sequence[SecretUse]], Awaitable[None]] = field(default=_unrecorded)

    @property
    def evidence(self) -> dict[str, Any]:
        """What a stopped driver found; `cancel_unconfirmed` says why the end is not certain."""
        return self.stop.evidence

    def not_acting(self) -> None:
        """Record that nothing has begun that could have an effect."""
        self.stop.ended, self.stop.effect = True, "none"

    def acting(self) -> None:
        """From now on there may be an effect; call it before the first one.

        Raises CancelledError where the attempt is to end: a library can lose the cancellation that
        came while it waited (asyncio.wait_for before Python 3.12, gh-86296).
        """
        if self.stop.requested:
            raise asyncio.CancelledError
        self.stop.ended, self.stop.effect = False, "possible"


class Driver(Protocol):
    """Runs the tools of one kind."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Act once, without a retry of its own.

        Time limit, cancel and drain all arrive as `asyncio.CancelledError`. The driver ends what
        it started within `context.stop.grace_seconds` and a bounded clean-up, fills
        `context.stop`, and raises it again. Where the work had ended by
        itself before, it returns the outcome instead. Every expected error is a `Failure`; any
        other exception is a defect of the driver.
        """
        ...
