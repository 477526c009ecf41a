"""The command line: every command in one place, each imported only as far as its options."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from console import (
    assets,
    audit,
    control,
    dlq,
    docs,
    endpoints,
    explain,
    finding,
    history,
    hooks,
    keys,
    locks,
    logs,
    migrate,
    output,
    policy,
    procedures,
    processes,
    retention,
    schedules,
    stack,
    submission,
    terminal,
    token,
    tools,
    topics,
    triggers,
    watching,
)
from console.exits import Exit, Failure
from console.sections import Sections

if TYPE_CHECKING:
    from collections.abc import Callable

#: They choose where Kafka and Postgres are, so they ignore a local stack.
_STACK_COMMANDS = frozenset({"up", "down", "status"})

app = typer.Typer(
    name="runstream",
    no_args_is_help=True,
    cls=Sections,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        terminal.tell(f"runstream {version('runstream')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run operations plans as Kafka streams, and see everything that happens.

    KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL say where Kafka and Postgres are; without them the
    local stack of this folder is used (runstream up).
    """
    if context.invoked_subcommand not in _STACK_COMMANDS:
        endpoints.adopt_local_stack()


#: The headings of `--help`, and the modules of their commands.
_SECTIONS = (
    ("Plans and executions", (submission, watching, history, finding, output, logs, explain)),
    ("Operators", (control, locks, audit, policy, retention, token)),
    ("What there is", (tools, procedures, schedules, triggers, hooks, assets, topics, dlq)),
    ("This machine", (stack, keys, migrate)),
    ("Processes", (processes, docs)),
)

for _title, _modules in _SECTIONS:
    for _module in _modules:
        _module.register(app)
    for _command in app.registered_commands:
        if not isinstance(_command.rich_help_panel, str):
            _command.rich_help_panel = _title
    for _group in app.registered_groups:
        if not isinstance(_group.rich_help_panel, str):
            _group.rich_help_panel = _title


@cache
def _program() -> Callable[..., object]:
    """What typer makes of the functions and their options; takes longer than most commands."""
    return typer.main.get_command(app)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (see console.exits)."""
    try:
        _program()(args=argv, prog_name="runstream")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.FAILED if end.code else Exit.OK
    except Failure as failure:
        from console.terminal import print_failure

        print_failure(failure)
        return failure.code
    except KeyboardInterrupt:
        terminal.say("interrupted")
        return Exit.INTERRUPTED
    return Exit.OK
