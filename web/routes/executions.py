"""The list of executions: the first page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Query, Request, Response

from api.caller import CurrentCaller
from web.routing import router
from web.sources.executions import CurrentExecutions
from web.templating import fragment, page
from web.views.executions import execution_list, row
from web.views.filters import RANGES, ListFilters

executions = router()

_Text = Annotated[str, Query(max_length=200)]
_Cursor: Final = Query(max_length=500)
_MOST_ROWS: Final = 50


@executions.get("/executions")
def show_executions(
    request: Request,
    caller: CurrentCaller,
    source: CurrentExecutions,
    text: _Text = "",
    status: _Text = "",
    actor: _Text = "",
    procedure: _Text = "",
    asset: _Text = "",
    environment: _Text = "",
    started_by: _Text = "",
    since: _Text = "",
    until: _Text = "",
    late: bool = False,
    after: Annotated[str | None, _Cursor] = None,
) -> Response:
    """Executions, newest first, narrowed to what the address says."""
    filters = ListFilters(
        text.strip(), status, actor.strip(), procedure.strip(), asset.strip(), environment,
        started_by, since, until, late,
    )  # fmt: skip
    found = execution_list(
        source.page(filters, after), source.counts(filters), filters, datetime.now(UTC), after
    )
    base = f"{request.url.scheme}://{request.url.netloc}"
    return page(request, "executions.html", list=found, ranges=RANGES, base=base)


@executions.get("/executions/rows")
def show_rows(
    caller: CurrentCaller,
    source: CurrentExecutions,
    id: Annotated[list[str], Query(max_length=_MOST_ROWS)],
) -> Response:
    """These executions as rows, for a list that is open."""
    now = datetime.now(UTC)
    return fragment("execution_rows.html", rows=[row(one, now) for one in source.some(id)])
