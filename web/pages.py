"""Pages: every router of the console, for the application of the API."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from web import static_files
from web.routes.actions import actions
from web.routes.approvals import approvals
from web.routes.dead_letters import letters
from web.routes.entrance import entrance
from web.routes.execution import execution
from web.routes.executions import executions
from web.routes.start import start
from web.routes.starters import starters
from web.routes.system import pages

ROUTERS: Final[tuple[APIRouter, ...]] = (
    static_files.router,
    entrance,
    executions,
    execution,
    actions,
    approvals,
    start,
    letters,
    starters,
    pages,
)
