"""The files of triggers: read, and checked as far as that needs neither Kafka nor a database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from console.applied_files import Fault, files_of, sentence
from console.exits import Exit, Failure

if TYPE_CHECKING:
    from streams.inputs import Input
    from streams.triggers import Trigger
    from toolmeta.invocation import Problem

#: What expressions of a trigger may name.
NAMES: Final = (
    "message", "text", "key", "headers", "topic", "partition", "offset", "timestamp", "item",
)  # fmt: skip
_FIRST_NAME: Final = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class TriggerFile:
    """A trigger as its file says it."""

    file: str
    trigger: Trigger


def read(place: Path, prefix: str) -> tuple[list[TriggerFile], list[Fault]]:
    """The triggers of a file, or of all files below a folder, and all that is wrong with them.

    `prefix` is that of Runstream's own topics. Expressions must be evaluated by somebody.
    """
    if place.is_dir():
        paths = {path.relative_to(place).as_posix(): path for path in files_of(place, "trigger")}
    elif place.exists():
        paths = {place.name: place}
    else:
        raise Failure(f"{place} does not exist", Exit.USAGE, "name a file or folder of triggers")
    found: dict[str, TriggerFile] = {}
    faults: list[Fault] = []
    for shown, path in paths.items():
        one = _read(path, shown, prefix)
        if isinstance(one, list):
            faults += one
        elif one.trigger.name in found:
            other = found[one.trigger.name].file
            message = f"{one.trigger.name} is the name of {other} too; names must be unique"
            faults.append(Fault(shown, "name", message))
        else:
            found[one.trigger.name] = one
    return [found[name] for name in sorted(found)], faults


def _read(path: Path, shown: str, prefix: str) -> TriggerFile | list[Fault]:
    from pydantic import ValidationError

    from console import planfile
    from streams.triggers import Trigger

    try:
        document = planfile.load_mapping(str(path))
    except Failure as failure:
        text = str(failure).removeprefix(f"{path}: ")
        return [Fault(shown, "", text.replace("no inputs in it", "no trigger in it"))]
    try:
        trigger = Trigger.model_validate(document)
    except ValidationError as error:
        return [
            Fault(
                shown, ".".join(map(str, fault["loc"]))[:200], sentence(fault, Trigger.model_fields)
            )
            for fault in error.errors(include_url=False)[:20]
        ]
    faults = [Fault(shown, field, message) for field, message in problems(trigger, prefix)]
    return faults or TriggerFile(shown, trigger)


def problems(trigger: Trigger, prefix: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a trigger, each with its field."""
    from processors.triggers.decisions import refuse_topic

    wrong = refuse_topic(trigger.topic, prefix)
    if wrong is not None:
        yield "topic", wrong
    for field, text in _expressions(trigger):
        message = _fault_of(field, text, trigger)
        if message is not None:
            yield field, message


def input_problems(trigger: Trigger, declared: dict[str, Input]) -> list[Problem]:
    """What its inputs lack for a procedure that declares these; values of records are not known."""
    from processors.router.input_values import values
    from runtime.cel.expressions import has_references

    given = trigger.inputs or {}
    later = {f"inputs.{name}" for name, value in given.items() if has_references(value)}
    found = values(declared, {name: None if f"inputs.{name}" in later else value
                              for name, value in given.items()})  # fmt: skip
    if isinstance(found, dict):
        return []
    unknown = {f"inputs.{name}" for name in given if name not in declared}
    return [one for one in found if one.field not in later or one.field in unknown]


def _expressions(trigger: Trigger) -> Iterator[tuple[str, str]]:
    from runtime.cel.expressions import references

    if trigger.for_each is not None:
        yield "for_each", trigger.for_each
    if trigger.when is not None:
        yield "when", trigger.when
    if trigger.deduplicate is not None:
        yield "deduplicate.key", trigger.deduplicate.key
    for name, value in (trigger.inputs or {}).items():
        for text in references(value):
            yield f"inputs.{name}", text


def _fault_of(field: str, text: str, trigger: Trigger) -> str | None:
    from runtime.cel import expressions

    inner = text.strip()
    if inner.startswith("{{") and inner.endswith("}}"):
        inner = inner[2:-2].strip()
    try:
        expressions.check(inner)
    except expressions.ExpressionError as error:
        return str(error)
    first = _FIRST_NAME.match(inner)
    if first is None or not expressions.is_path(inner):
        return None
    if first[0] not in NAMES:
        return f"`{inner[:80]}`: there is no {first[0]}; there are {', '.join(NAMES)}"
    if first[0] == "item" and (trigger.for_each is None or field == "for_each"):
        return "item is there only where for_each gives a list"
    return None
