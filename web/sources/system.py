"""Sources of the pages about schedules, triggers, tools, locks, executors and figures."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Protocol

from fastapi import Depends

from api.caller import CurrentCaller
from api.parts import CurrentParts
from reading.models.executors import ExecutorList
from reading.models.health import SystemHealth
from reading.models.locks import LockList
from reading.models.starters import ScheduleList, ScheduleView, TriggerList, TriggerView
from reading.models.statistics import Statistics
from reading.models.tools import ToolDetail, ToolList


class Starters(Protocol):
    """What starts procedures by itself."""

    def schedules(self) -> ScheduleList:
        """By name."""

    def schedule(self, name: str) -> ScheduleView | None:
        """One of them."""

    def triggers(self) -> TriggerList:
        """By name."""

    def trigger(self, name: str) -> TriggerView | None:
        """One of them."""


class Tools(Protocol):
    """What plans can name."""

    def every(self) -> ToolList:
        """By name."""

    def one(self, name: str) -> ToolDetail | None:
        """One of them."""


class System(Protocol):
    """How the parts of the system stand."""

    def locks(self) -> LockList:
        """Who holds which asset."""

    def executors(self) -> ExecutorList:
        """Who serves which steps."""

    def statistics(self, length: timedelta, points: int) -> Statistics:
        """Figures of the time until now."""

    def health(self) -> SystemHealth | None:
        """Whether the parts answer."""


def find_starters(caller: CurrentCaller, parts: CurrentParts) -> Starters:
    """What this caller may read."""
    raise NotImplementedError


def find_tools(caller: CurrentCaller, parts: CurrentParts) -> Tools:
    """Those of the catalogue."""
    raise NotImplementedError


def find_system(caller: CurrentCaller, parts: CurrentParts) -> System:
    """What this caller may read."""
    raise NotImplementedError


CurrentStarters = Annotated[Starters, Depends(find_starters)]
CurrentTools = Annotated[Tools, Depends(find_tools)]
CurrentSystem = Annotated[System, Depends(find_system)]
