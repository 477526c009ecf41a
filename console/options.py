"""The options that several commands share."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Literal

import typer

from console.exits import Exit, Failure
from streams.ids import is_execution_id

OptionalPlan = Annotated[
    Path | None, typer.Argument(metavar="[PLAN]", help="YAML or JSON file, or - for stdin.")
]
PolicyPath = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="The policy; RUNSTREAM_POLICY, else the built-in one, if not given.",
    ),
]
ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="The execution id.")]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Whose; `default` if not given."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Prune = Annotated[
    bool, typer.Option("--prune", help="Remove what is applied and not in the folder.")
]
Again = Annotated[
    bool,
    typer.Option("--again", help="Apply what has not changed too, with a signature of now."),
]
Actor = Annotated[
    str | None,
    typer.Option("--actor", metavar="NAME", help="Who asks; your login name if not given."),
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the event.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
JsonLines = Annotated[bool, typer.Option("--jsonl", help="One JSON event per line on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.1,
        max=86_400,
        help="How long to watch; then exit 5, and the execution goes on.",
    ),
]
#: The forms of files with hosts that an import reads.
HostsFormat = Literal["ansible-ini", "ansible-yaml", "ssh-config", "csv"]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Return as soon as the broker has it, unanswered.")
]


def login() -> str:
    """The login name of the user who runs the command, for `actor`."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "anonymous"


def execution_id(text: str) -> str:
    """`text` if it is an execution id; raises Failure."""
    ident = text.strip().lower()
    if not is_execution_id(ident):
        raise Failure(
            f"{text!r} is no execution id; one looks like 019a9c3e-8f21-8a37-9c41-7be20a51d3f0",
            Exit.USAGE,
            "runstream list",
        )
    return ident


def started_ms(ident: str) -> int:
    """When the id was made, in Unix milliseconds: its first 48 bits."""
    return int(ident[:8] + ident[9:13], 16)
