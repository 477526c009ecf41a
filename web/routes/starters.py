"""Schedules and triggers: what starts procedures by itself, and what a person says to it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.caller import CurrentCaller
from api.problems import Problem, not_found
from web.routing import redirect, router
from web.sources.system import (
    CurrentStarterCommands,
    CurrentStarters,
    StarterAction,
    Starters,
)
from web.templating import page
from web.views import starters as views

starters = router()

_Text = Annotated[str, Query(max_length=200)]
_Reason = Annotated[str, Form(max_length=1_000)]
_Action = Annotated[StarterAction, Form()]


@starters.get("/schedules")
def show_schedules(
    request: Request, caller: CurrentCaller, source: CurrentStarters, text: _Text = ""
) -> Response:
    """Schedules, by name."""
    return page(request, "schedules.html", list=views.schedules(source.schedules(), text.strip()))


@starters.get("/schedules/{name}")
def show_schedule(
    request: Request, name: str, caller: CurrentCaller, source: CurrentStarters
) -> Response:
    """One schedule."""
    return _schedule(request, source, name, None)


@starters.post("/schedules/{name}")
async def command_schedule(
    request: Request,
    name: str,
    caller: CurrentCaller,
    source: CurrentStarters,
    commands: CurrentStarterCommands,
    action: _Action,
    reason: _Reason = "",
) -> Response:
    """Pause, resume or run it; what is refused is said on its page."""
    try:
        await commands.send("schedule", action, name, reason.strip() or None)
    except Problem as problem:
        if problem.document.status in (401, 404):
            raise
        return await run_in_threadpool(_schedule, request, source, name, problem)
    return redirect(f"/schedules/{name}")


@starters.get("/triggers")
def show_triggers(
    request: Request, caller: CurrentCaller, source: CurrentStarters, text: _Text = ""
) -> Response:
    """Triggers, by name."""
    return page(request, "triggers.html", list=views.triggers(source.triggers(), text.strip()))


@starters.get("/triggers/{name}")
def show_trigger(
    request: Request, name: str, caller: CurrentCaller, source: CurrentStarters
) -> Response:
    """One trigger."""
    return _trigger(request, source, name, None)


@starters.post("/triggers/{name}")
async def command_trigger(
    request: Request,
    name: str,
    caller: CurrentCaller,
    source: CurrentStarters,
    commands: CurrentStarterCommands,
    action: _Action,
    reason: _Reason = "",
) -> Response:
    """Pause or resume it; what is refused is said on its page."""
    try:
        await commands.send("trigger", action, name, reason.strip() or None)
    except Problem as problem:
        if problem.document.status in (401, 404):
            raise
        return await run_in_threadpool(_trigger, request, source, name, problem)
    return redirect(f"/triggers/{name}")


def _schedule(request: Request, source: Starters, name: str, refused: Problem | None) -> Response:
    found = source.schedule(name)
    if found is None:
        raise not_found("schedule")
    view = views.schedule_page(found)
    return page(request, "schedule.html", _status(refused), view=view, trouble=_told(refused))


def _trigger(request: Request, source: Starters, name: str, refused: Problem | None) -> Response:
    found = source.trigger(name)
    if found is None:
        raise not_found("trigger")
    view = views.trigger_page(found)
    return page(request, "trigger.html", _status(refused), view=view, trouble=_told(refused))


def _status(refused: Problem | None) -> int:
    return 200 if refused is None else refused.document.status


def _told(refused: Problem | None) -> str | None:
    return None if refused is None else refused.document.detail
