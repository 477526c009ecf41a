"""The files of schedules: what they hold, and how their inputs are checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from console import starter_files
from console.starter_files import Form, StarterFile
from streams.schedules import Misfire, Schedule

if TYPE_CHECKING:
    from console.applied_files import Fault
    from reading.procedures import Applied
    from streams.inputs import Input
    from toolmeta.invocation import Problem


def read(place: Path) -> tuple[list[StarterFile[Schedule]], list[Fault]]:
    """The schedules of a folder or of one file, and everything that is wrong with them."""
    fields = [*Schedule.model_fields, *Misfire.model_fields]
    return starter_files.read(place, Form("schedule", Schedule, fields, _problems))


def against(
    files: Iterable[StarterFile[Schedule]], procedures: Mapping[str, Applied]
) -> tuple[list[Fault], list[Fault]]:
    """What would be refused at each moment, and what is doubtful, by the applied procedures."""
    return starter_files.against(files, procedures, _input_problems)


def _problems(schedule: Schedule) -> Iterator[tuple[str, str]]:
    from processors.schedules.moments import Wrong, timing

    found = timing(schedule, "default")
    if isinstance(found, Wrong):
        yield found.field, found.message


def _input_problems(schedule: Schedule, declared: dict[str, Input]) -> list[Problem]:
    from processors.router.input_values import values

    given = dict(schedule.inputs or {})
    if schedule.moment_input is not None:
        given[schedule.moment_input] = "2026-01-01T00:00:00Z"
    found = values(declared, given)
    return found if isinstance(found, list) else []
