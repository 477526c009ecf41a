"""`runstream tools list`, `show` and `check`: the catalogue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from console import terminal
from console.exits import Exit, Failure
from console.options import Json
from console.text import count, one_line, plain

if TYPE_CHECKING:
    from toolmeta.model import Tool
    from toolmeta.parameters import Parameter
    from toolmeta.registry import Registry

ToolName = Annotated[str, typer.Argument(metavar="TOOL", help="Canonical name or alias.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="The tools that a plan can name.")
    group.command("list")(list_)
    group.command()(show)
    group.command()(check)
    app.add_typer(group, name="tools")


def _catalogue() -> Registry:
    from toolmeta import registry

    try:
        return registry.load()
    except registry.CatalogueError as error:
        raise Failure(f"the catalogue is broken: {error}", Exit.FAILED) from None


def _find(name: str) -> Tool:
    catalogue = _catalogue()
    tool = catalogue.get(name)
    if tool is None:
        near = catalogue.suggest(name)
        hint = (
            f"did you mean {near}? runstream tools show {near}" if near else "runstream tools list"
        )
        raise Failure(f"there is no tool {name!r}", Exit.USAGE, hint)
    return tool


def list_(
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="NAME", help="Only this domain's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tools."""
    tools = [tool for tool in _catalogue().all() if domain in (None, tool.domain)]
    if as_json:
        terminal.data([_summary(tool) for tool in tools])
        return
    if not tools:
        known = sorted({tool.domain for tool in _catalogue().all()})
        hint = f"one of {', '.join(known)}"
        raise Failure(f"--domain: no tool is in {domain!r}", Exit.USAGE, hint)
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("TOOL", "DOMAIN", "EFFECT", "DESCRIPTION"):
        table.add_column(column, no_wrap=column != "DESCRIPTION")
    for tool in tools:
        colour = {"read": "green", "modify": "yellow", "destroy": "bold red"}[tool.risk.effect]
        table.add_row(
            Text(tool.name, style="bold"), tool.domain, Text(tool.risk.effect, style=colour),
            Text(one_line(tool.description)),
        )  # fmt: skip
    terminal.out().print(table)
    terminal.say(count(len(tools), "tool"), "dim")


def _summary(tool: Tool) -> dict[str, object]:
    return {
        "name": tool.name,
        "aliases": tool.aliases,
        "domain": tool.domain,
        "action_class": tool.action_class,
        "effect": tool.risk.effect,
        "description": tool.description,
    }


def show(tool: ToolName, as_json: Json = False) -> None:
    """Show a tool: its parameters, its risk, and a plan that uses it."""
    found = _find(tool)
    if as_json:
        terminal.data(found.model_dump(mode="json"))
        return
    from rich.table import Table
    from rich.text import Text

    out = terminal.out()
    out.print(Text().append(found.name, "bold").append(f"  {found.domain}", style="dim"))
    out.print(Text(plain(found.description)), soft_wrap=True)
    if found.aliases:
        out.print(Text(f"also called {', '.join(found.aliases)}", style="dim"), soft_wrap=True)
    risk = found.risk
    facts = [risk.effect, "safe to repeat" if risk.retry_safe else "not repeated after a failure"]
    facts += ["needs root"] if risk.needs_root else []
    out.print(Text(f"effect: {', '.join(facts)}; at most {found.timeout_seconds:g} s", style="dim"))
    if found.parameters:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
        for column in ("PARAMETER", "TYPE", "DEFAULT", "MEANING"):
            table.add_column(column, overflow="fold")
        for name, parameter in found.parameters.items():
            default = "required" if parameter.required else json.dumps(parameter.default)
            default = "" if default == "null" else default
            table.add_row(
                Text(name, style="bold"), _type(parameter), Text(default),
                Text(plain(parameter.description)),
            )  # fmt: skip
        out.print()
        out.print(table)
    out.print()
    example = {"steps": [{"tool": found.name, "parameters": found.example.parameters}]}
    out.print(Text().append("plan: ", "dim").append(json.dumps(example)), soft_wrap=True)


def _type(parameter: Parameter) -> str:
    if parameter.enum is not None:
        return " | ".join(str(value) for value in parameter.enum)
    inner = f" of {parameter.items.type}" if parameter.items is not None else ""
    return f"{parameter.type}{inner}{' (secret)' if parameter.secret else ''}"


def check(
    tool: ToolName,
    parameters: Annotated[
        str, typer.Argument(metavar="JSON", help="The parameters, as a JSON object.")
    ] = "{}",
    as_json: Json = False,
) -> None:
    """Check parameters against a tool; nothing is run. Exit code 3 where they are refused."""
    from toolmeta import check as checking

    found = _find(tool)
    try:
        given = json.loads(parameters)
    except ValueError as error:
        raise Failure(f"the parameters are not JSON: {error}", Exit.USAGE) from None
    problems = checking.check(found, given, references_allowed=True)
    if as_json:
        listed = [{"field": item.field, "message": item.message} for item in problems]
        terminal.data({"tool": found.name, "ok": not problems, "problems": listed})
    elif problems:
        for item in problems:
            terminal.say(f"{item.field} {item.message}", "red")
    else:
        terminal.say(f"{found.name} takes these parameters", "green")
    raise typer.Exit(Exit.REJECTED if problems else Exit.OK)
