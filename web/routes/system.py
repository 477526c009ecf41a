"""Tools, locks, executors and the overview: pages that only show."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from api.caller import CurrentCaller
from api.problems import not_found
from web.routing import router
from web.sources.system import CurrentSystem, CurrentTools
from web.templating import page
from web.views import overview as figures
from web.views import system
from web.views import tools as catalogue

pages = router()

_Text = Annotated[str, Query(max_length=200)]


@pages.get("/tools")
def show_tools(
    request: Request,
    caller: CurrentCaller,
    source: CurrentTools,
    text: _Text = "",
    domain: _Text = "",
    effect: _Text = "",
    all: bool = False,
) -> Response:
    """Tools, narrowed to what the address says."""
    filters = catalogue.ToolFilters(text.strip(), domain, effect)
    found = catalogue.tools(source.every(), filters, everything=all)
    return page(request, "tools.html", list=found)


@pages.get("/tools/{name}")
def show_tool(
    request: Request,
    name: str,
    caller: CurrentCaller,
    source: CurrentTools,
    stands: CurrentSystem,
) -> Response:
    """One tool, and the executors that serve it."""
    found = source.one(name)
    if found is None:
        raise not_found("tool")
    return page(request, "tool.html", view=catalogue.tool_page(found, stands.executors()))


@pages.get("/locks")
def show_locks(
    request: Request, caller: CurrentCaller, source: CurrentSystem, text: _Text = ""
) -> Response:
    """Locked assets, those that somebody waits for at the top."""
    return page(request, "locks.html", list=system.locks(source.locks(), text.strip()))


@pages.get("/executors")
def show_executors(request: Request, caller: CurrentCaller, source: CurrentSystem) -> Response:
    """Executors and what they serve."""
    return page(request, "executors.html", list=system.executors(source.executors()))


@pages.get("/overview")
def show_overview(
    request: Request, caller: CurrentCaller, source: CurrentSystem, range: _Text = ""
) -> Response:
    """How the executions of a range went."""
    chosen = range if range in figures.RANGES else figures.DEFAULT_RANGE
    _, length, spans = figures.RANGES[chosen]
    found = figures.overview(source.statistics(length, spans), source.health(), chosen)
    return page(request, "overview.html", view=found)
