"""`runstream triggers test`: what a message would start, without Kafka."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from console import endpoints, terminal
from console.evaluating import evaluating
from console.exits import Exit, Failure
from console.options import Json
from reading.text import count, json_text, plain

if TYPE_CHECKING:
    from processors.triggers.matching import Looked
    from streams.inputs import Input
    from streams.triggers import Trigger

#: A record of a topic has 1 MB in most clusters.
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024


def test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The trigger.")],
    message: Annotated[
        str,
        typer.Option("--message", metavar="FILE|-", help="The value of the record; - is stdin."),
    ] = "-",
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="NAME", help="The trigger's if not given.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="TEXT", help="Its key.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME=VALUE", help="A header; may be repeated."),
    ] = None,
    procedure: Annotated[
        Path | None,
        typer.Option("--procedure", metavar="FILE", help="Check the inputs against this one."),
    ] = None,
    applied: Annotated[
        bool,
        typer.Option("--applied", help="Check the inputs against the applied procedure (Kafka)."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a message would start: the condition, the items, the inputs.

    Exit code 0: it starts something; 1: nothing, or an expression fails; 3: the procedure would
    refuse the inputs. Needs Kafka only with --applied.
    """

    declared = _declared(file, procedure, applied=applied)
    with evaluating():
        trigger = _trigger(file)
        given = [(name, value.encode()) for name, value in map(_pair, header or [])]
        found = _look(trigger, topic or trigger.topic, key, _value(message), given)
        told = [_told(one, trigger, declared) for one in found]
    starts = [one for one in told if one["result"] == "starts"]
    refused = [one for one in told if one["problems"]]
    if as_json:
        terminal.data(
            {"starts": len(starts), "procedure": trigger.procedure, "results": told,
             "inputs_checked": declared is not None}
        )  # fmt: skip
    else:
        for one in told:
            _print(one, trigger)
        if starts and declared is None:
            terminal.say("the inputs were not checked: --procedure FILE or --applied", "yellow")
        terminal.say(f"{count(len(starts), 'start')}", "green" if starts else "yellow")
    if refused:
        raise typer.Exit(Exit.REJECTED)
    raise typer.Exit(Exit.OK if starts else Exit.FAILED)


def _look(
    trigger: Trigger, topic: str, key: str | None, value: bytes, headers: list[tuple[str, bytes]]
) -> list[Looked]:
    from processors.triggers.matching import Watched, look, read
    from runtime.clock import now

    raw = None if key is None else key.encode()
    record = read(topic, 0, 0, int(now() * 1_000), raw, value, headers)
    watched = Watched("default", trigger.name, trigger, "", None)
    return list(look(watched, record, lambda: False))


def _told(one: Looked, trigger: Trigger, declared: dict[str, Input] | None) -> dict[str, Any]:
    from processors.router.input_values import values
    from processors.triggers.matching import Failure as Failed
    from processors.triggers.matching import Match

    told: dict[str, Any] = {"problems": []}
    if isinstance(one, Failed):
        return {"result": "fails", "field": one.field, "error": one.error} | told
    if not isinstance(one, Match):
        return {"result": "does not match", "item": one.item} | told
    if declared is not None:
        checked = values(declared, one.inputs or {})
        if isinstance(checked, list):
            told["problems"] = [f"{problem.field}: {problem.message}" for problem in checked]
    told |= {"result": "starts", "item": one.item, "inputs": one.inputs or {}}
    if trigger.deduplicate is not None:
        told["deduplicate"] = one.same_value
    return told


def _print(one: dict[str, Any], trigger: Trigger) -> None:
    item = one.get("item")
    which = "" if item is None else f"item {item}: "
    if one["result"] == "fails":
        terminal.say(plain(f"{one['field']} fails: {one['error']}"), "red")
    elif one["result"] == "does not match":
        terminal.say(f"{which}does not match", "dim")
    else:
        terminal.tell(f"{which}starts {trigger.procedure}")
        for name, value in one["inputs"].items():
            terminal.tell(plain(f"  {name}: {json_text(value)}"))
        if "deduplicate" in one:
            terminal.tell(plain(f"  once for: {json_text(one['deduplicate'])}"))
        for problem in one["problems"]:
            terminal.say(plain(f"  {problem}"), "red")


def _trigger(file: Path) -> Trigger:
    from console import trigger_files
    from runtime.settings import CommonSettings

    found, faults = trigger_files.read(file, endpoints.load(CommonSettings).topic_prefix)
    if faults:
        first = faults[0]
        where = f"{first.file}: {first.field}" if first.field else first.file
        raise Failure(f"{where}: {first.message}", Exit.USAGE)
    if len(found) != 1:
        raise Failure(f"{file} holds {len(found)} triggers; name one file", Exit.USAGE)
    return found[0].defined


def _declared(file: Path, procedure: Path | None, *, applied: bool) -> dict[str, Input] | None:
    """The inputs of the procedure; None where nobody says which one it is."""
    from console import applying, planfile, procedure_records, session
    from processors.router.input_values import declarations

    if procedure is not None:
        plan = planfile.load(str(procedure))
    elif applied:
        asking = session.begin(None)
        with evaluating():
            name = _trigger(file).procedure
        found_there = procedure_records.read(asking.settings, asking.tenant)
        plan = applying.find(found_there, name, "procedure").plan
    else:
        return None
    with evaluating():
        found = declarations(plan.get("inputs"))
    if isinstance(found, list):
        raise Failure(f"{procedure}: {found[0].field}: {found[0].message}", Exit.USAGE)
    return found


def _value(message: str) -> bytes:
    try:
        if message == "-":
            raw = sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 1)
        else:
            with Path(message).open("rb") as opened:
                raw = opened.read(MAX_MESSAGE_BYTES + 1)
    except OSError as error:
        raise Failure(f"{message} cannot be read: {error.strerror}", Exit.USAGE) from None
    if len(raw) > MAX_MESSAGE_BYTES:
        raise Failure(f"{message} has more than {MAX_MESSAGE_BYTES} bytes", Exit.USAGE)
    return raw


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Failure(f"--header {text!r} is not NAME=VALUE", Exit.USAGE)
    return name, value
