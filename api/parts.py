"""Parts: what the routes work with, opened once for the process and closed with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from api.live.live import Live
    from runtime.logs import Log
    from runtime.settings import ApiSettings


@dataclass(slots=True)
class Parts:
    """Of one process; each is safe from every thread."""

    settings: ApiSettings
    log: Log
    #: Read-only connections; a route takes one for as long as it needs it.
    database: ConnectionPool[Connection[dict[str, Any]]]
    #: What live streams share; None where the process serves none.
    live: Live | None = None


def find_parts(request: Request) -> Parts:
    """The parts of the process that answers this request."""
    found: Parts = request.app.state.parts
    return found


CurrentParts = Annotated[Parts, Depends(find_parts)]
