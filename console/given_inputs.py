"""`--set NAME=VALUE` and `--inputs FILE`: the values of a plan's inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.exits import Exit, Failure

if TYPE_CHECKING:
    from runtime.settings import CommonSettings

SetInput = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An input of the plan; JSON for what is no text, env/NAME for a secret. Repeatable.",
    ),
]
InputsFile = Annotated[
    Path | None,
    typer.Option("--inputs", metavar="FILE", help="Inputs as YAML or JSON; --set wins."),
]
ProcedureName = Annotated[
    str | None,
    typer.Option("--procedure", metavar="NAME", help="Run this procedure; then no PLAN is given."),
]
ProcedureVersion = Annotated[
    str | None,
    typer.Option("--version", metavar="VERSION", help="Only if the procedure has this version."),
]


def request_of(
    plan: Path | None,
    procedure: str | None,
    version: str | None,
    written: Sequence[str],
    file: Path | None,
    settings: CommonSettings,
    tenant: str | None,
) -> dict[str, Any]:
    """The request that the options say: of a plan's file or of a procedure. Raises Failure."""
    from console import applying, procedure_records

    _one_of(plan, procedure)
    if version is not None and procedure is None:
        raise Failure("--version is of a procedure: give --procedure NAME too", Exit.USAGE)
    if plan is not None:
        return of_plan(plan, written, file)
    assert procedure is not None  # one of both is given  # noqa: S101
    document = {"procedure": procedure}
    if version is not None:
        document["version"] = version
    if not written:
        return with_inputs(document, {}, written, file)
    found = procedure_records.read(settings, tenant or "default")
    declared = applying.find(found, procedure, "procedure").plan.get("inputs")
    return with_inputs(document, declared if isinstance(declared, dict) else {}, written, file)


def explained(
    plan: Path | None,
    procedure: str | None,
    written: Sequence[str],
    file: Path | None,
    settings: CommonSettings,
    tenant: str | None,
) -> dict[str, Any]:
    """The request of a plan's file, or of a procedure with its plan as applied. Raises Failure."""
    from console import applying, procedure_records, signing

    _one_of(plan, procedure)
    if plan is not None:
        return of_plan(plan, written, file)
    assert procedure is not None  # one of both is given  # noqa: S101
    whose = signing.tenant_of(signing.private_key(settings), tenant) or "default"
    there = procedure_records.read(settings, whose)
    found = applying.find(there, procedure, "procedure")
    document = {"plan": found.plan}
    return with_inputs(document, _declared(document), written, file)


def _one_of(plan: Path | None, procedure: str | None) -> None:
    if (plan is None) == (procedure is None):
        raise Failure(
            "give the file of a plan, or --procedure NAME",
            Exit.USAGE,
            "runstream procedures list shows the names",
        )


def of_plan(plan: Path, written: Sequence[str], file: Path | None) -> dict[str, Any]:
    """The request in the file of a plan, with these inputs. Raises Failure."""
    from console import planfile

    document = planfile.load(str(plan))
    return with_inputs(document, _declared(document), written, file)


def with_inputs(
    document: dict[str, Any], declared: dict[str, Any], written: Sequence[str], file: Path | None
) -> dict[str, Any]:
    """The request with these inputs; each text is read by the type that the plan declares."""
    given = {} if file is None else _load(file)
    for text in written:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Failure(f"--set {text!r} is not NAME=VALUE", Exit.USAGE)
        one = declared.get(name)
        given[name] = value_of(name, value, one if isinstance(one, dict) else {})
    if not given:
        return document
    if "procedure" in document or "plan" in document:
        before = document.get("inputs")
        return {**document, "inputs": {**(before if isinstance(before, dict) else {}), **given}}
    from streams.plans import AROUND

    around: dict[str, Any] = {name: document[name] for name in AROUND if name in document}
    plan = {name: value for name, value in document.items() if name not in AROUND}
    return {**around, "plan": plan, "inputs": given}


def value_of(name: str, text: str, one: dict[str, Any]) -> Any:
    """The value that a text stands for where the input is declared so."""
    if one.get("secret") is True:
        return {"type": "secret", "path": text}
    if one.get("type", "string") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise Failure(
            f"--set {name}: {text!r} is no {one['type']}",
            Exit.USAGE,
            'write it as JSON, such as 3, true or \'["web-01", "web-02"]\'',
        ) from None


def _load(file: Path) -> dict[str, Any]:
    from console import planfile

    return planfile.load_mapping(str(file))


def _declared(document: dict[str, Any]) -> dict[str, Any]:
    plan = document.get("plan", document)
    declared = plan.get("inputs") if isinstance(plan, dict) else None
    return declared if isinstance(declared, dict) else {}
