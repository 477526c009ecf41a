"""What a driver is given and what it gives back: the contract between the agent and the drivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from drivers.masking import Masker
from drivers.resources import Resources
from streams.commands import StepCommand
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


Outcome = Success | Failure


class OutputWriter(Protocol):
    """Where a driver puts what the tool wrote."""

    async def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Publish `data` in order; waits while too much of it is in flight (back-pressure)."""
        ...


@dataclass(slots=True)
class RunContext:
    """One attempt as its driver sees it."""

    command: StepCommand
    output: OutputWriter
    resources: Resources
    #: Cheap: may be called at any rate, the agent throttles. Percent (0..100) and a message.
    report_progress: Callable[[float | None, str | None], None]
    #: Filled by a driver that is cancelled: what was ended, and `cancel_unconfirmed` (a sentence)
    #: where that could not be made certain.
    evidence: dict[str, Any] = field(default_factory=dict)
    #: Secrets of this attempt: a driver that reveals another one adds it before it uses it.
    masker: Masker = field(default_factory=Masker)


class Driver(Protocol):
    """One way of acting."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Act once, without a retry of its own.

        Timeout and cancel both arrive as `asyncio.CancelledError`: the driver ends what it
        started (bounded in time), fills `context.evidence` and raises it again. Every expected
        error is a `Failure`; any other exception is a fault of ours.
        """
        ...
