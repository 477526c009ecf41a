"""The page of one execution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response

from api.caller import Caller, CurrentCaller
from reading.models.executions import ExecutionDetail
from reading.models.steps import StepDetail, StepPage, StreamName
from streams.lifecycle import STEP_FAILED
from web.routing import router
from web.sources.executions import CurrentExecutions, Executions
from web.statuses import STEP
from web.templating import fragment, page
from web.views.actions import Action, fits, why_not
from web.views.execution import head
from web.views.graph import MOST_NODES, graph
from web.views.panel import panel
from web.views.steps import matrix, step_rows
from web.views.tabs import (
    Tab,
    event_rows,
    plan_text,
    rendered,
    step_chips,
    tab_items,
)
from web.views.timeline import timeline
from web.wording import number

execution = router()

#: Steps on one page of a tab, and events.
PAGE_STEPS: Final = 500
_PAGE_EVENTS: Final = 200
#: From how many events on the waits of a timeline are not read from them.
_MOST_EVENTS: Final = 2_000
#: Steps whose values are shown beside the plan.
_MOST_RENDERED: Final = 50

#: What a person has just done, as the notice after it.
NOTICES: Final = {
    "cancel": "The cancel has been sent: what runs is being stopped.",
    "pause": "The pause has been sent: nothing more starts.",
    "resume": "It goes on.",
    "approve": "Your approval has been recorded.",
    "reject": "Your rejection has been recorded.",
    "resolve": "What became of the step has been recorded.",
    "sent": "It has been sent. No router has answered yet; one will.",
    "redrive": "This execution runs the step again and keeps what had succeeded before it.",
    "rerun": "This execution repeats the other one and keeps what had succeeded there.",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the address asks to see."""

    #: None: what fits the status.
    asked: Tab | None
    step: str | None
    attempt: int | None
    stream: StreamName | None
    show: str
    after: str | None
    notice: str | None
    tab: Tab = "timeline"


def shown(
    tab: Tab | None = None,
    step: Annotated[str | None, Query(max_length=300)] = None,
    attempt: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    stream: StreamName | None = None,
    show: Annotated[str, Query(max_length=40)] = "",
    after: Annotated[str | None, Query(max_length=500)] = None,
    notice: Annotated[str | None, Query(max_length=40)] = None,
) -> Shown:
    """From the query."""
    return Shown(tab, step or None, attempt, stream, show if show in STEP else "", after, notice)


@execution.get("/executions/{ident}")
def show_execution(
    request: Request,
    ident: str,
    caller: CurrentCaller,
    source: CurrentExecutions,
    wanted: Annotated[Shown, Depends(shown)],
) -> Response:
    """One execution, with the tab and the step that the address names."""
    detail = source.detail(ident)
    # Before anything has run people ask what would.
    first: Tab = "plan" if detail.status in ("pending_approval", "rejected") else "timeline"
    wanted = replace(wanted, tab=wanted.asked or first)
    now = datetime.now(UTC)
    path = f"/executions/{detail.execution_id}"
    side = _panel(source, detail, caller, wanted, now)
    if request.headers.get("HX-Target") == "panel-slot" and side["panel"] is not None:
        return fragment("step_panel.html", **side)
    values = {
        "head": head(detail, caller, now),
        "tab": wanted.tab,
        "tabs": tab_items(path, wanted.tab, detail, wanted.step),
        "notice": NOTICES.get(wanted.notice or ""),
        **side,
        **_tab(source, detail, wanted, now),
    }
    return page(request, "execution.html", **values)


def _panel(
    source: Executions, detail: ExecutionDetail, caller: Caller, wanted: Shown, now: datetime
) -> dict[str, Any]:
    found = None if wanted.step is None else source.step(detail.execution_id, wanted.step)
    path = f"/executions/{detail.execution_id}"
    close = f"{path}?{urlencode({'tab': wanted.tab})}"
    if found is None:
        return {"panel": None, "close": close}
    query = urlencode({"tab": wanted.tab, "step": found.step})
    button = _button(detail, caller, found)
    return {
        "panel": panel(
            detail.execution_id, found, now, wanted.attempt, wanted.stream, f"{path}?{query}"
        ),
        "close": close,
        "step_action": button,
        "step_action_href": f"{path}/do/{button}?{urlencode({'step': found.step})}",
    }


def _button(detail: ExecutionDetail, caller: Caller, step: StepDetail) -> Action | None:
    """What can be done about this step alone, and by this caller."""
    action: Action = "rerun"
    if step.status == "needs_attention":
        action = "resolve"
    elif step.parent is not None or step.undoes is not None or not step.attempt:
        return None
    elif step.status in STEP_FAILED:
        action = "redrive"
    possible = fits(detail, action) and why_not(detail, caller, action) is None
    return action if possible else None


def _tab(
    source: Executions, detail: ExecutionDetail, wanted: Shown, now: datetime
) -> dict[str, Any]:
    path = f"/executions/{detail.execution_id}"
    if wanted.tab == "events":
        return _events(source, detail.execution_id, wanted, path)
    if wanted.tab == "plan":
        return _plan(source, detail.execution_id, path)
    limit = MOST_NODES * 4 if wanted.tab == "graph" else PAGE_STEPS
    steps = source.steps(
        detail.execution_id,
        limit=limit,
        after=wanted.after if wanted.tab != "graph" else None,
        statuses=[wanted.show] if wanted.show else [],
    )
    values = _paged(steps, wanted, path) | {
        "step_chips": step_chips(path, wanted.tab, detail, wanted.show)
    }
    if wanted.tab == "graph":
        drawn = graph(steps.steps, path) if steps.next is None else None
        return values | {"graph": drawn, "total": steps.total}
    if wanted.tab == "steps":
        hosts = None if wanted.show else matrix(steps.steps, path)
        return values | {"rows": step_rows(steps.steps, path, now), "matrix": hosts}
    small = steps.total <= PAGE_STEPS
    attempts = source.attempts(detail.execution_id, limit=PAGE_STEPS).attempts if small else []
    events = []
    if detail.last_seq <= _MOST_EVENTS:
        events = source.events(detail.execution_id, after=0, limit=_MOST_EVENTS).events
    href = f"{path}?tab=timeline&step={{step}}"
    return values | {"timeline": timeline(detail, steps.steps, attempts, events, now, href)}


def _paged(steps: StepPage, wanted: Shown, path: str) -> dict[str, Any]:
    query = {"tab": wanted.tab} | ({"show": wanted.show} if wanted.show else {})
    older = f"{path}?{urlencode({**query, 'after': steps.next})}" if steps.next else None
    return {
        "shown": f"{number(len(steps.steps))} of {number(steps.total)} steps",
        "step_first": f"{path}?{urlencode(query)}" if wanted.after else None,
        "step_older": older,
    }


def _events(source: Executions, ident: str, wanted: Shown, path: str) -> dict[str, Any]:
    after = int(wanted.after) if wanted.after and wanted.after.isdecimal() else 0
    found = source.events(ident, after=min(after, 2**53), limit=_PAGE_EVENTS)
    return {
        "events": event_rows(found),
        "shown": f"{number(len(found.events))} of {number(found.last_seq)} events",
        "events_first": f"{path}?tab=events" if after else None,
        "events_next": f"{path}?tab=events&after={found.next}" if found.next else None,
    }


def _plan(source: Executions, ident: str, path: str) -> dict[str, Any]:
    view = source.plan(ident)
    steps = source.steps(ident, limit=_MOST_RENDERED, after=None, statuses=[]).steps
    details: Sequence[StepDetail] = [
        found for step in steps if step.attempt and (found := source.step(ident, step.step))
    ]
    return {
        "plan": plan_text(view),
        "plan_hash": view.plan_hash,
        "rendered": rendered(view, details, path),
    }
