"""What the commands of schedules share: options, and the question before they act."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from console.exits import Exit, Failure

Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Whose; `default` if not given."),
]
ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def asked(question: str, otherwise: str) -> None:
    """Ask before something is done; raises Failure where the answer is no."""
    if not sys.stdin.isatty():
        raise Failure(f"{otherwise}: there is nobody to ask", Exit.USAGE, "repeat it with --yes")
    if not typer.confirm(question, err=True):
        raise Failure(otherwise, Exit.FAILED)
