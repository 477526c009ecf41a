"""`runstream tools list`, `show`, `check` and `validate`: the catalogue; see own_tools too."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from console import catalogue, own_tools, terminal
from console.exits import Exit, Failure
from console.options import Json
from reading.text import count, one_line, plain

if TYPE_CHECKING:
    from console.programs import Finding
    from toolmeta.model import Tool

ToolName = Annotated[str, typer.Argument(metavar="TOOL", help="Canonical name or alias.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="The tools that a plan can name.")
    group.command("list")(list_)
    group.command()(show)
    group.command()(check)
    group.command()(validate)
    own_tools.register(group)
    app.add_typer(group, name="tools")


def _find(name: str) -> Tool:
    known = catalogue.load()
    tool = known.get(name)
    if tool is None:
        near = known.suggest(name)
        hint = (
            f"did you mean {near}? runstream tools show {near}" if near else "runstream tools list"
        )
        raise Failure(f"there is no tool {name!r}", Exit.USAGE, hint)
    return tool


def list_(
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="NAME", help="Only this domain's.")
    ] = None,
    platform: Annotated[
        str | None, typer.Option("--platform", metavar="NAME", help="Only this platform's.")
    ] = None,
    risk: Annotated[
        str | None,
        typer.Option("--risk", metavar="EFFECT", help="Only this effect: read, modify, destroy."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tools; filters are combined."""
    everything = catalogue.listed()
    _known("--domain", domain, {tool.domain for tool in everything})
    _known("--platform", platform, {tool.platform for tool in everything})
    _known("--risk", risk, {"read", "modify", "destroy"})
    tools = [
        tool
        for tool in everything
        if domain in (None, tool.domain)
        and platform in (None, tool.platform)
        and risk in (None, tool.effect)
    ]
    if as_json:
        terminal.data([asdict(tool) for tool in tools])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("TOOL", "DOMAIN", "PLATFORM", "EFFECT", "DESCRIPTION"):
        table.add_column(column, no_wrap=column != "DESCRIPTION")
    for tool in tools:
        colour = {"read": "green", "modify": "yellow", "destroy": "bold red"}[tool.effect]
        table.add_row(
            Text(tool.name, style="bold"), tool.domain, tool.platform,
            Text(tool.effect, style=colour), Text(one_line(tool.description)),
        )  # fmt: skip
    terminal.out().print(table)
    terminal.say(count(len(tools), "tool"), "dim")


def _known(option: str, value: str | None, choices: set[str]) -> None:
    if value is not None and value not in choices:
        hint = f"one of {', '.join(sorted(choices))}"
        raise Failure(f"{option}: nothing is called {value!r}", Exit.USAGE, hint)


def show(tool: ToolName, as_json: Json = False) -> None:
    """Show a tool: its parameters, its risk, and a plan that uses it."""
    found = _find(tool)
    if as_json:
        terminal.data(found.model_dump(mode="json", by_alias=True))
        return
    from rich.table import Table
    from rich.text import Text

    from reading import tool_texts
    from toolmeta import literals

    out = terminal.out()
    head = Text().append(found.name, "bold").append(f"  {found.domain}, {found.platform}", "dim")
    out.print(head)
    out.print(Text(plain(found.description)), soft_wrap=True)
    if found.aliases:
        out.print(Text(f"also called {', '.join(found.aliases)}", style="dim"), soft_wrap=True)
    for label, words in tool_texts.risk(found):
        out.print(Text(f"{label}: {words}", style="dim"), soft_wrap=True)
    if found.parameters:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
        for column in ("PARAMETER", "TYPE", "DEFAULT", "MEANING"):
            table.add_column(column, overflow="fold")
        for name, parameter in found.parameters.items():
            table.add_row(
                Text(name, style="bold"), Text(tool_texts.shape(parameter)),
                Text(tool_texts.default(parameter)),
                Text(plain(tool_texts.meaning(parameter))),
            )  # fmt: skip
        out.print()
        out.print(table)
    for rule in tool_texts.rules(found):
        out.print(Text(rule, style="dim"), soft_wrap=True)
    out.print()
    example = {"steps": [{"tool": found.name, "parameters": literals.as_planned(found)}]}
    out.print(Text().append("plan: ", "dim").append(json.dumps(example)), soft_wrap=True)
    if found.example.argv is not None:
        words = json.dumps(found.example.argv)
        out.print(Text().append("runs: ", "dim").append(words), soft_wrap=True)
    answer = json.dumps(found.example.output)
    out.print(Text().append("output: ", "dim").append(plain(answer)), soft_wrap=True)


def check(
    tools: Annotated[
        list[str] | None, typer.Argument(metavar="[TOOL]...", help="Only these; else all.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="NAME", help="Only this domain's.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 where anything is missing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say which programs this machine has, and what brings those that are missing.

    It looks at the machine that it runs on: run it where the executor runs. A tool that a step
    sends to another host by SSH needs its program there, not here.
    """
    from console import programs

    chosen = [_find(name) for name in tools] if tools else list(catalogue.load().all())
    _known("--domain", domain, {tool.domain for tool in catalogue.load().all()})
    findings = programs.inspect(tool for tool in chosen if domain in (None, tool.domain))
    lacking = [finding for finding in findings if finding.missing]
    if as_json:
        terminal.data([finding.document() for finding in findings])
    else:
        _findings(findings)
        for finding in lacking:
            terminal.say(f"{finding.tool}: {', '.join(finding.missing)} missing", "red")
            terminal.say(f"  {finding.remedy}", "dim")
        ready = f"{len(findings) - len(lacking)} of {count(len(findings), 'tool')} can run here"
        terminal.say(ready, "yellow" if lacking else "green")
    raise typer.Exit(Exit.FAILED if strict and lacking else Exit.OK)


def _findings(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("TOOL", "PROGRAM", "VERSION", "PACKAGE", "CAPABILITIES"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        state = "green" if not finding.missing else "red"
        needs = [f"{name} {'yes' if has else 'no'}" for name, has in finding.capabilities.items()]
        table.add_row(
            Text(finding.tool, style=f"bold {state}"),
            Text(finding.path or finding.program or "(none needed)"),
            finding.version or "-", finding.package or "-", ", ".join(needs) or "-",
        )  # fmt: skip
    terminal.out().print(table)


def validate(
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
