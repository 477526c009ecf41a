"""Files of schedules or triggers: read, and checked as the router checks what is applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from console.applied_files import Fault, named, read_each, sentence
from console.exits import Failure
from streams.limits import MAX_CONTROL_BYTES

if TYPE_CHECKING:
    from reading.procedures import Applied
    from streams.inputs import Input
    from toolmeta.invocation import Problem

#: What a command has besides the definition that it applies.
_AROUND_BYTES = 2_048
_MAX_FIELD = 200


class Definition(Protocol):
    """A schedule or a trigger, as far as it says what is started; a model of streams."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def procedure(self) -> str:
        """The procedure that it starts."""

    @property
    def version(self) -> str | None:
        """The version of it; any if None."""

    @classmethod
    def model_validate(cls, obj: Any) -> Any:
        """Raises ValidationError."""

    def model_dump(self, *, mode: str, exclude_defaults: bool) -> dict[str, Any]:
        """As a document."""

    def model_dump_json(self, *, exclude_unset: bool) -> str:
        """As a command has it."""


D = TypeVar("D", bound=Definition)


@dataclass(frozen=True, slots=True)
class StarterFile(Generic[D]):
    """A schedule or trigger as its file says it."""

    file: str
    defined: D

    @property
    def name(self) -> str:
        """The name of the schedule or trigger."""
        return self.defined.name


@dataclass(frozen=True, slots=True)
class Form(Generic[D]):
    """What the files of a kind hold, and how it is checked beyond its model."""

    what: str
    model: type[D]
    #: The names that a misspelt field is compared with.
    fields: Sequence[str]
    #: What else is wrong with a definition: each a field and a sentence.
    problems: Callable[[D], Iterable[tuple[str, str]]]


def read(place: Path, form: Form[D]) -> tuple[list[StarterFile[D]], list[Fault]]:
    """What a folder or one file holds, by name, and everything that is wrong with the files."""
    return read_each(named(place, form.what), lambda path, shown: _read(path, shown, form))


def _read(path: Path, shown: str, form: Form[D]) -> StarterFile[D] | list[Fault]:
    from pydantic import ValidationError

    from console import planfile

    try:
        document = planfile.load_mapping(str(path))
    except Failure as failure:
        text = str(failure).removeprefix(f"{path}: ")
        return [Fault(shown, "", text.replace("no inputs in it", f"no {form.what} in it"))]
    try:
        # As JSON has them: a time of YAML is a text, and text of digits is no number.
        defined: D = form.model.model_validate(document)
    except ValidationError as error:
        return [
            Fault(shown, _place(one["loc"], one.get("ctx")), sentence(one, form.fields))
            for one in error.errors(include_url=False, include_input=False)[:20]
        ]
    faults = [Fault(shown, field, message) for field, message in form.problems(defined)]
    size = len(defined.model_dump_json(exclude_unset=True).encode())
    if size > MAX_CONTROL_BYTES - _AROUND_BYTES:
        message = f"{size} bytes are more than a {form.what} may have; give long inputs to the plan"
        faults.append(Fault(shown, "inputs", message))
    return faults or StarterFile(shown, defined)


def _place(where: tuple[int | str, ...], context: dict[str, Any] | None) -> str:
    field = ".".join(str(part) for part in where) or str((context or {}).get("field", ""))
    return field[:_MAX_FIELD]


def against(
    files: Iterable[StarterFile[D]],
    procedures: Mapping[str, Applied],
    problems: Callable[[D, dict[str, Input]], list[Problem]],
) -> tuple[list[Fault], list[Fault]]:
    """What would be refused at each start, and what is doubtful, by the applied procedures.

    `problems` are those of a definition's inputs for a procedure that declares these.
    """
    from difflib import get_close_matches

    from processors.router.input_values import declarations

    faults: list[Fault] = []
    doubts: list[Fault] = []
    for one in files:
        defined = one.defined
        applied = procedures.get(defined.procedure)
        if applied is None:
            near = get_close_matches(defined.procedure, procedures, n=1)
            hint = f"did you mean {near[0]}?" if near else "runstream procedures apply DIR"
            message = f"no procedure {defined.procedure!r} is applied; {hint}"
            doubts.append(Fault(one.file, "procedure", message))
            continue
        if defined.version is not None and defined.version != applied.record.version:
            message = f"{defined.procedure} is applied in version {applied.record.version}"
            doubts.append(Fault(one.file, "version", message))
            continue
        declared = declarations(applied.plan.get("inputs"))
        if isinstance(declared, list):
            continue  # By another version; the router says what it makes of it.
        found = problems(defined, declared)
        faults += (Fault(one.file, problem.field, problem.message) for problem in found)
    return faults, doubts
