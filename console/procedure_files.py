"""The files of a folder of procedures: read, and checked as the router would check a request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from console.applied_files import Fault, below, read_each
from console.exits import Failure
from streams.procedures import PROCEDURE_NAME, PROCEDURE_VERSION, digest_of

if TYPE_CHECKING:
    from streams.inputs import Input
    from toolmeta.invocation import Problem
    from toolmeta.registry import Registry

#: What stands for an input of this type that a file gives no value for.
_EXAMPLES: Final[dict[str, Any]] = {
    "string": "example", "integer": 1, "number": 1, "boolean": True, "list": [], "object": {},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Head:
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ProcedureFile:
    """A procedure as its file says it."""

    file: str
    name: str
    version: str
    plan: dict[str, Any]

    @property
    def digest(self) -> str:
        """The digest that is recorded when it runs."""
        return digest_of(self.plan)


def read_folder(folder: Path, tools: Registry) -> tuple[list[ProcedureFile], list[Fault]]:
    """Every procedure below the folder, by name, and everything that is wrong with the files."""
    paths = below(folder, "procedure")
    return read_each(paths, lambda path, shown: _read(path, shown, tools))


def _read(path: Path, shown: str, tools: Registry) -> ProcedureFile | list[Fault]:
    from console import planfile

    try:
        document = planfile.load(str(path))
    except Failure as failure:
        return [Fault(shown, "", str(failure).removeprefix(f"{path}: "))]
    if "plan" in document or "procedure" in document:
        message = "a file holds the plan itself, with its name and version; take the request away"
        return [Fault(shown, "plan" if "plan" in document else "procedure", message)]
    head = _head(document, shown)
    if isinstance(head, list):
        return head
    faults = [
        Fault(shown, problem.field.removeprefix("plan."), problem.message)
        for problem in problems_of(document, tools)
    ]
    return faults or ProcedureFile(shown, head.name, head.version, document)


def _head(document: dict[str, Any], shown: str) -> _Head | list[Fault]:
    """Name and version, which every procedure has."""
    faults: list[Fault] = []
    for field, pattern, what in (
        ("name", PROCEDURE_NAME, "a name such as restart-web"),
        ("version", PROCEDURE_VERSION, "a version such as 1"),
    ):
        value = document.get(field)
        if isinstance(value, float):
            faults.append(Fault(shown, field, "put it in quotes: 1.10 is read as the number 1.1"))
        elif value is None:
            faults.append(Fault(shown, field, f"it is required: a procedure has {what}"))
        elif isinstance(value, bool | list | dict) or not re.search(pattern, str(value)):
            faults.append(Fault(shown, field, f"it must match {pattern}"))
    if faults:
        return faults
    return _Head(str(document["name"]), str(document["version"]))


def problems_of(plan: dict[str, Any], tools: Registry) -> Iterator[Problem]:
    """What a request of this plan would be refused for, whatever the values of its inputs."""
    from processors.router.input_references import substitute
    from processors.router.input_values import declarations
    from processors.router.plan_cache import PlanCache
    from processors.router.request_decoder import Invalid, decode_resolved
    from processors.router.resolution import resolved, secret_problems
    from toolmeta.invocation import Problem

    declared = declarations(plan.get("inputs"))
    if isinstance(declared, list):
        yield from declared
        return
    open_inputs = frozenset(name for name, one in declared.items() if one.default is None)
    done = substitute(
        plan, declared, {name: _example(one) for name, one in declared.items()}, open_inputs
    )
    if isinstance(done, list):
        yield from done
        return
    whole = resolved({}, done, {})
    if isinstance(whole, list):
        yield from whole
        return
    read = decode_resolved(whole, plan)
    if isinstance(read, Invalid):
        yield from read.problems
        return
    yield from secret_problems(tuple(done.secrets), tools)
    admitted = PlanCache(tools).admit(read.request, read.plan_hash, "lint", 1)
    if isinstance(admitted, list):
        yield from admitted
        return
    for field in admitted.unknown_fields or ():
        yield Problem(field, "there is no such field; a misspelling, or take it out")


def _example(one: Input) -> Any:
    if one.default is not None:
        return one.default
    if one.secret:
        return {"type": "secret", "path": "env/EXAMPLE"}
    if one.enum is not None:
        return one.enum[0]
    return one.minimum if one.minimum is not None else _EXAMPLES[one.type]
