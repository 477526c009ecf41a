"""`runstream token`: a bearer token for the HTTP API."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from console import endpoints, signing, terminal
from console.exits import Exit, Failure
from console.options import Json


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(token)


def token(
    hours: Annotated[
        float,
        typer.Option("--hours", metavar="N", min=0.01, max=12, help="For how long it counts."),
    ] = 1.0,
    read: Annotated[
        bool, typer.Option("--read", help="For reading only: it starts and changes nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print a token for the HTTP API, made with your key (RUNSTREAM_SIGNING_KEY).

    Whoever has it may do at the API what you may, until it expires or your key is revoked.
    """
    from authority import bearer
    from runtime.clock import now
    from runtime.settings import ApiSettings

    settings = endpoints.load(ApiSettings)
    key = signing.private_key(settings)
    if key is None:
        raise Failure(
            "there is no key to make a token with",
            Exit.USAGE,
            "set RUNSTREAM_SIGNING_KEY=FILE, or make a key: runstream keys new actor",
        )
    made_at = now()
    text = bearer.make(
        key, settings.api_audience, made_at, hours * 3_600, secrets.token_hex(16), read_only=read
    )
    if as_json:
        use = key.use
        terminal.data(
            {
                "token": text, "tenant": use.tenant, "actor": use.actor, "read_only": read,
                "expires_at": made_at + hours * 3_600,
            }
        )  # fmt: skip
    else:
        terminal.tell(text)
