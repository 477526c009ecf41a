"""`runstream hooks lint`: whether a file of webhooks can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console import applying
from console.options import Json

Place = Annotated[Path, typer.Argument(metavar="FILE", help="The file of RUNSTREAM_HOOKS.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Webhooks that the HTTP API takes.")
    group.callback()(lambda: None)
    group.command()(lint)
    app.add_typer(group, name="hooks")


def lint(place: Place, as_json: Json = False) -> None:
    """Check the file of webhooks; exit code 1 where something is wrong.

    The secrets that it names are looked for by the API, when it starts and when the file changes.
    """
    from api.hooks import file
    from console.applied_files import Fault

    try:
        found, faults = file.read(place), list[Fault]()
    except file.HooksError as error:
        found, faults = (), [Fault(str(place), one.field, one.message) for one in error.faults]
    applying.lint(place, "hook", found, faults, as_json=as_json)
