"""Parts: what the routes work with, opened once for the process and closed with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

if TYPE_CHECKING:
    from api.answers import Answers
    from api.authentication import Tokens
    from api.database import Database
    from api.hooks.hooks import Hooks
    from api.live.live import Live
    from api.records import Records
    from authority.policy_file import PolicyFile
    from runtime.logs import Log
    from runtime.settings import ApiSettings
    from toolmeta.registry import Registry


@dataclass(slots=True)
class Parts:
    """Of one process; each is safe from every thread, unless it says otherwise."""

    settings: ApiSettings
    log: Log
    #: Read-only connections; a route takes one for as long as it needs it.
    database: Database
    #: The catalogue, with the operator's own tools; read again when these change.
    tools: Registry
    #: The policy that counts now; read again when its file changes.
    policies: PolicyFile
    tokens: Tokens
    #: Writes requests and control messages; for the event loop.
    records: Records
    #: What routers answer; for the event loop.
    answers: Answers
    #: Set when the process is to end: streams end then, by themselves. For the event loop.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    #: The webhooks that are taken; None where none are configured.
    hooks: Hooks | None = None
    #: What live streams share; None before the event loop runs, and where none are served.
    live: Live | None = None


def find_parts(request: Request) -> Parts:
    """The parts of the process that answers this request."""
    found: Parts = request.app.state.parts
    return found


CurrentParts = Annotated[Parts, Depends(find_parts)]
