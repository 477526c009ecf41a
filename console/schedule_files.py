"""The files of schedules: read, and checked as the router checks what is applied."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.applied_files import Fault, files_of, sentence
from console.exits import Failure
from streams.limits import MAX_CONTROL_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from console.procedure_records import Applied
    from streams.schedules import Schedule


class ScheduleFile:
    """A schedule as its file says it."""

    def __init__(self, file: str, schedule: Schedule) -> None:
        """`file` is as it is shown."""
        self.file = file
        self.schedule = schedule

    @property
    def name(self) -> str:
        """The name of the schedule."""
        return self.schedule.name


def read(place: Path) -> tuple[list[ScheduleFile], list[Fault]]:
    """The schedules of a folder or of one file by name, and everything that is wrong with them."""
    single = place.is_file()
    paths = [place] if single else files_of(place, "schedule")
    found: dict[str, ScheduleFile] = {}
    faults: list[Fault] = []
    for path in paths:
        shown = path.name if single else path.relative_to(place).as_posix()
        one = _read(path, shown)
        if isinstance(one, list):
            faults += one
        elif one.name in found:
            message = f"{one.name} is the name of {found[one.name].file} too; names must be unique"
            faults.append(Fault(shown, "name", message))
        else:
            found[one.name] = one
    return [found[name] for name in sorted(found)], faults


def _read(path: Path, shown: str) -> ScheduleFile | list[Fault]:
    from pydantic import ValidationError

    from console import planfile
    from processors.schedules.moments import Wrong, timing
    from streams.schedules import Misfire, Schedule

    known = [*Schedule.model_fields, *Misfire.model_fields]
    try:
        document = planfile.load_mapping(str(path))
    except Failure as failure:
        text = str(failure).removeprefix(f"{path}: ")
        return [Fault(shown, "", text.replace("no inputs in it", "no schedule in it"))]
    try:
        # As JSON has them: a time of YAML is a text, and text of digits is no number.
        schedule = Schedule.model_validate(document)
    except ValidationError as error:
        return [
            Fault(shown, _place(one["loc"], one.get("ctx")), sentence(one, known))
            for one in error.errors(include_url=False, include_input=False)
        ]
    found = timing(schedule, "default")
    if isinstance(found, Wrong):
        return [Fault(shown, found.field, found.message)]
    size = len(schedule.model_dump_json(exclude_unset=True).encode())
    if size > MAX_CONTROL_BYTES - 2_048:
        message = f"{size} bytes are more than a schedule may have; give long inputs to the plan"
        return [Fault(shown, "inputs", message)]
    return ScheduleFile(shown, schedule)


def _place(where: tuple[int | str, ...], context: dict[str, Any] | None) -> str:
    return ".".join(str(part) for part in where) or str((context or {}).get("field", ""))


def against(
    files: list[ScheduleFile], procedures: Mapping[str, Applied]
) -> tuple[list[Fault], list[Fault]]:
    """What would be refused at each moment, and what is doubtful, by the applied procedures."""
    from difflib import get_close_matches

    from processors.router.input_values import declarations, values

    faults: list[Fault] = []
    doubts: list[Fault] = []
    for one in files:
        schedule = one.schedule
        applied = procedures.get(schedule.procedure)
        if applied is None:
            near = get_close_matches(schedule.procedure, procedures, n=1)
            hint = f"did you mean {near[0]}?" if near else "runstream procedures apply DIR"
            message = f"no procedure {schedule.procedure!r} is applied; {hint}"
            doubts.append(Fault(one.file, "procedure", message))
            continue
        if schedule.version is not None and schedule.version != applied.record.version:
            message = f"{schedule.procedure} is applied in version {applied.record.version}"
            doubts.append(Fault(one.file, "version", message))
            continue
        declared = declarations(applied.plan.get("inputs"))
        if isinstance(declared, list):
            continue  # By another version; the router says what it makes of it.
        given = dict(schedule.inputs or {})
        if schedule.moment_input is not None:
            given[schedule.moment_input] = "2026-01-01T00:00:00Z"
        found = values(declared, given)
        if isinstance(found, list):
            faults += (Fault(one.file, problem.field, problem.message) for problem in found)
    return faults, doubts
