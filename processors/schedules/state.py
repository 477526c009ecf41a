"""What is known of one schedule, and how it stands in `schedules.state`; pure.

A key is `schedule/`, the tenant, `/` and the name. A schedule that was removed is kept without its
definition for as long as a copy of an earlier command could count, so that none brings it back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from processors.schedules.moments import Timing, Wrong, timing
from streams.schedules import Schedule

PREFIX: Final = b"schedule/"
#: Outcomes that are kept of one schedule.
MAX_HISTORY: Final = 20
#: Executions of one schedule that run at once, with `overlap: allow`.
MAX_RUNNING: Final = 100
MAX_BACKFILLS: Final = 10
#: An execution of whose end nothing was heard counts as lost after this long: as long as records
#: lie on the topics by which it would have been told.
LOST_SECONDS: Final = 7 * 86_400.0
MAX_REASON: Final = 500

Kind = Literal["moment", "run", "backfill"]


@dataclass(slots=True)
class Running:
    """An execution that was started and has not ended."""

    execution_id: str
    cause: str
    moment: float
    kind: Kind
    started: float
    #: Whether its end was asked for, since a later moment takes its place.
    cancelled: bool = False


@dataclass(slots=True)
class Waiting:
    """A moment that is started when what runs has ended."""

    moment: float
    kind: Kind


@dataclass(slots=True)
class Backfill:
    """A range whose moments are started one after the other; `done` is the last that was."""

    begin: float
    end: float
    done: float


@dataclass(slots=True)
class Outcome:
    """What became of a moment, or of those from `moment` to `until`."""

    moment: float
    kind: Kind
    #: completed, failed, cancelled ...: how the execution ended. rejected, duplicate: it never ran.
    #: skipped, dropped, missed: nothing was started. lost: nothing was heard of its end.
    outcome: Annotated[str, Field(max_length=40)]
    at: float
    execution_id: str | None = None
    until: float | None = None
    message: str | None = None


@dataclass(slots=True)
class ScheduleState:
    """One schedule. Moments up to `decided` have been decided about, and are not again."""

    tenant: str
    name: str
    #: None: it was removed.
    schedule: Schedule | None
    #: Whoever applied it, and the key that proved it.
    actor: str
    kid: str | None
    applied: float
    decided: float
    paused: bool = False
    pause_reason: str | None = None
    running: list[Running] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    backfills: list[Backfill] = field(default_factory=list)
    history: list[Outcome] = field(default_factory=list)
    #: Key id -> when the last command that was followed was signed, in Unix microseconds.
    signed: dict[str, int] = field(default_factory=dict)
    #: The ids of the last commands that were followed.
    followed: list[str] = field(default_factory=list)
    removed: float | None = None
    version: Literal[1] = 1

    @property
    def key(self) -> str:
        """The key of its commands."""
        return f"{self.tenant}/{self.name}"

    def note(self, outcome: Outcome) -> None:
        """Keep an outcome, the last ones only."""
        self.history = [*self.history, outcome][-MAX_HISTORY:]


@dataclass(slots=True)
class Known:
    """A schedule with what follows from its state."""

    state: ScheduleState
    #: None where its definition cannot be used here, or where it was removed.
    timing: Timing | None = None
    wrong: Wrong | None = None
    #: The first moment that is not decided, and when it is started.
    moment: float | None = None
    due: float | None = None

    def define(self) -> None:
        """Take over the definition and the last moment that was decided."""
        schedule = self.state.schedule
        self.timing, self.wrong = None, None
        if schedule is not None:
            found = timing(schedule, self.state.tenant)
            if isinstance(found, Wrong):
                self.wrong = found
            else:
                self.timing = found
        self.look()

    def look(self) -> None:
        """Find the next moment."""
        self.expect(None if self.timing is None else self.timing.after(self.state.decided))

    def expect(self, moment: float | None) -> None:
        """Take this as the next moment."""
        self.moment = moment
        self.due = None if moment is None or self.timing is None else self.timing.due(moment)


_STATE: Final = TypeAdapter(ScheduleState)


def encode(state: ScheduleState) -> bytes:
    """The record of a schedule."""
    return _STATE.dump_json(state, exclude_defaults=True)


def decode(value: bytes) -> ScheduleState:
    """The schedule that `encode` wrote; raises ValueError where it did not."""
    return _STATE.validate_json(value)


def record_key(key: str) -> bytes:
    """The key of the record of a schedule."""
    return PREFIX + key.encode()
