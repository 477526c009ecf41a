"""Sources of the pages about schedules, triggers, tools, locks, executors and figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Annotated, Final, Literal, Protocol

import psycopg
from fastapi import Depends, Response
from psycopg_pool import PoolTimeout, TooManyRequests

from api.caller import CurrentCaller
from api.parts import CurrentParts, Parts
from api.problems import Problem, not_found
from api.reading import CurrentReader, CurrentTopics, told
from api.routes import starter_control
from reading import executors, health, locks, schedules, statistics, tools, triggers
from reading.compacted import Unavailable
from reading.models.executors import ExecutorList
from reading.models.health import SystemHealth
from reading.models.locks import LockList
from reading.models.starters import ScheduleList, ScheduleView, TriggerList, TriggerView
from reading.models.statistics import Statistics
from reading.models.tools import ToolDetail, ToolList
from reading.reader import Reader
from reading.topics import Topics

#: Moments to come that the page of a schedule shows.
MOMENTS: Final = 10
Kind = Literal["schedule", "trigger"]
StarterAction = Literal["pause", "resume", "run"]
_BROKEN: Final = (psycopg.Error, PoolTimeout, TooManyRequests)


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


@dataclass(frozen=True, slots=True)
class StartersOfTopics:
    """Schedules and triggers as their topics have them."""

    reader: Reader
    topics: Topics

    def schedules(self) -> ScheduleList:
        """See `Starters`."""
        with told():
            read = self.topics.schedules.read()
        found = schedules.of_tenant(read.items, self.reader.tenant)
        return schedules.listing(found.values(), read.as_of, 1)

    def schedule(self, name: str) -> ScheduleView | None:
        """See `Starters`."""
        with told():
            found = schedules.of_tenant(self.topics.schedules.read().items, self.reader.tenant)
        state = found.get(name)
        return None if state is None else schedules.document(state, MOMENTS)

    def triggers(self) -> TriggerList:
        """See `Starters`."""
        with told():
            read = self.topics.triggers.read()
        found = triggers.of_tenant(read.items, self.reader.tenant)
        return triggers.listing(found.values(), read.as_of, self._known())

    def trigger(self, name: str) -> TriggerView | None:
        """See `Starters`."""
        with told():
            found = triggers.of_tenant(self.topics.triggers.read().items, self.reader.tenant)
        state = found.get(name)
        return None if state is None else triggers.document(state, self._known())

    def _known(self) -> frozenset[str] | None:
        try:
            return self.topics.cluster.topics()
        except Unavailable:
            return None


@dataclass(frozen=True, slots=True)
class ToolsOfCatalogue:
    """Tools of the process's catalogue."""

    parts: Parts

    def every(self) -> ToolList:
        """See `Tools`."""
        return tools.listing(self.parts.tools)

    def one(self, name: str) -> ToolDetail | None:
        """See `Tools`."""
        return tools.one(self.parts.tools, name)


@dataclass(frozen=True, slots=True)
class SystemAsRead:
    """The system as tables, topics and brokers say it stands."""

    reader: Reader
    topics: Topics
    parts: Parts

    def locks(self) -> LockList:
        """See `System`."""
        with told():
            read = self.topics.locks.read()
        try:
            found = locks.locked(read.items, self.reader.tenant)
        except (KeyError, TypeError, ValueError):
            text = "the records of the locks are of another version: upgrade this process too"
            raise Problem(503, "unavailable", text) from None
        with self.parts.database.connection() as connection:
            return locks.locks(connection, self.reader, found, read.as_of)

    def executors(self) -> ExecutorList:
        """See `System`."""
        with self.parts.database.connection() as connection:
            return executors.executors(
                connection, self.reader, self.topics.cluster, self.parts.settings
            )

    def statistics(self, length: timedelta, points: int) -> Statistics:
        """See `System`."""
        until = datetime.now(UTC)
        with self.parts.database.connection() as connection:
            return statistics.statistics(connection, self.reader, until - length, until, points)

    def health(self) -> SystemHealth | None:
        """See `System`."""
        return health.health(
            self.parts.database.connection, _BROKEN, self.reader, self.topics.cluster,
            self.parts.settings, version("runstream"),
        )  # fmt: skip


class StarterCommands(Protocol):
    """What a person says to schedules and triggers; raises Problem."""

    async def send(self, kind: Kind, action: StarterAction, name: str, reason: str | None) -> bool:
        """Send the command; whether a router has followed it already."""


class ByRoute:
    """Commands by the routes of the API."""

    def __init__(self, caller: CurrentCaller, parts: CurrentParts, topics: CurrentTopics) -> None:
        """Of this caller."""
        self._caller, self._parts, self._topics = caller, parts, topics

    async def send(self, kind: Kind, action: StarterAction, name: str, reason: str | None) -> bool:
        """See `StarterCommands`."""
        where = (Response(), self._parts, self._topics, self._caller)
        why = starter_control.Why(reason=reason)
        match kind, action:
            case "schedule", "pause":
                found = await starter_control.pause_schedule(name, *where, why)
            case "schedule", "resume":
                found = await starter_control.resume_schedule(name, *where)
            case "schedule", "run":
                found = await starter_control.run_schedule(name, *where)
            case "trigger", "pause":
                found = await starter_control.pause_trigger(name, *where, why)
            case "trigger", "resume":
                found = await starter_control.resume_trigger(name, *where)
            case _:
                raise not_found(kind)
        return found.answer == "followed"


def find_starters(reader: CurrentReader, topics: CurrentTopics) -> Starters:
    """What this caller may read."""
    return StartersOfTopics(reader, topics)


def find_tools(reader: CurrentReader, parts: CurrentParts) -> Tools:
    """Those of the catalogue."""
    return ToolsOfCatalogue(parts)


def find_system(reader: CurrentReader, topics: CurrentTopics, parts: CurrentParts) -> System:
    """What this caller may read."""
    return SystemAsRead(reader, topics, parts)


CurrentStarters = Annotated[Starters, Depends(find_starters)]
CurrentStarterCommands = Annotated[StarterCommands, Depends(ByRoute)]
CurrentTools = Annotated[Tools, Depends(find_tools)]
CurrentSystem = Annotated[System, Depends(find_system)]
