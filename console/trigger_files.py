"""The files of triggers: read, and checked as far as that needs neither Kafka nor a database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from console import starter_files
from console.starter_files import Form, StarterFile
from streams.triggers import Deduplicate, StartLimit, Trigger

if TYPE_CHECKING:
    from console.applied_files import Fault
    from reading.procedures import Applied
    from streams.inputs import Input
    from toolmeta.invocation import Problem

#: What expressions of a trigger may name.
NAMES: Final = (
    "message", "text", "key", "headers", "topic", "partition", "offset", "timestamp", "item",
)  # fmt: skip
_FIRST_NAME: Final = re.compile(r"[A-Za-z_]\w*")


def read(place: Path, prefix: str) -> tuple[list[StarterFile[Trigger]], list[Fault]]:
    """The triggers of a folder or of one file, and everything that is wrong with them.

    `prefix` is that of Runstream's own topics. Expressions must be evaluated by somebody.
    """
    fields = [*Trigger.model_fields, *Deduplicate.model_fields, *StartLimit.model_fields]
    form = Form("trigger", Trigger, fields, lambda trigger: _problems(trigger, prefix))
    return starter_files.read(place, form)


def against(
    files: Iterable[StarterFile[Trigger]], procedures: Mapping[str, Applied]
) -> tuple[list[Fault], list[Fault]]:
    """What would be refused at each start, and what is doubtful, by the applied procedures."""
    return starter_files.against(files, procedures, _input_problems)


def _problems(trigger: Trigger, prefix: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a trigger, each with its field."""
    from processors.triggers.decisions import refuse_topic

    wrong = refuse_topic(trigger.topic, prefix)
    if wrong is not None:
        yield "topic", wrong
    for field, text in _expressions(trigger):
        message = _fault_of(field, text, trigger)
        if message is not None:
            yield field, message


def _input_problems(trigger: Trigger, declared: dict[str, Input]) -> list[Problem]:
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
