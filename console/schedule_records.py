"""Schedules on the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from console import schedule_view
from console.starter_commands import Kind
from processors.schedules.state import ScheduleState, decode
from streams.schedules import (
    ApplySchedule,
    PauseSchedule,
    RemoveSchedule,
    ResumeSchedule,
    Schedule,
)
from streams.topics import SCHEDULE_COMMANDS, SCHEDULES_STATE

if TYPE_CHECKING:
    from runtime.settings import CommonSettings


def _document(_: CommonSettings, state: ScheduleState) -> dict[str, Any]:
    return schedule_view.document(state, 1)


def _apply(tenant: str, actor: str, schedule: Schedule) -> ApplySchedule:
    return ApplySchedule(tenant=tenant, actor=actor, name=schedule.name, schedule=schedule)


SCHEDULES: Final = Kind(
    "schedule",
    SCHEDULE_COMMANDS,
    SCHEDULES_STATE,
    decode,
    lambda state: state.schedule,
    _document,
    _apply,
    RemoveSchedule,
    PauseSchedule,
    ResumeSchedule,
)
