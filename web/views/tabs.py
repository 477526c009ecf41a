"""The tabs of an execution and what each of them shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import yaml

from reading.models.events import EventPage
from reading.models.executions import ExecutionDetail, PlanView
from reading.models.steps import StepDetail, StepSummary
from web.statuses import STEP, step_look
from web.views.executions import Chip
from web.views.steps import link

Tab = Literal["timeline", "graph", "steps", "events", "plan"]
TABS: Final[dict[Tab, str]] = {
    "timeline": "Timeline",
    "graph": "Graph",
    "steps": "Steps",
    "events": "Events",
    "plan": "Plan",
}
_MOST_PLAN: Final = 200_000
_MOST_EVENT: Final = 50_000


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event with its JSON."""

    seq: int
    at: datetime
    type: str
    step: str | None
    attempt: int | None
    sentence: str
    json: str


@dataclass(frozen=True, slots=True)
class EventRows:
    """A page of events."""

    events: list[EventRow]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The values of one step: as written, and as they were run."""

    step: str
    tool: str
    href: str
    #: Name, as written, as run, and whether these differ.
    values: list[tuple[str, str, str, bool]]


def tab_items(
    path: str, current: Tab, detail: ExecutionDetail, step: str | None
) -> list[tuple[str, str, bool, int | None]]:
    """The tabs as links; the panel stays open from one to the next."""
    chosen = f"&step={quote(step, safe='')}" if step else ""
    counts = {"steps": detail.steps_known, "events": detail.last_seq}
    return [
        (f"{path}?tab={tab}{chosen}", title, tab == current, counts.get(tab))
        for tab, title in TABS.items()
    ]


def step_chips(path: str, tab: Tab, detail: ExecutionDetail, show: str) -> list[Chip]:
    """The statuses of the steps, to narrow them down."""
    counts: Mapping[str, int] = detail.step_counts or {}
    chips = [Chip("All", f"{path}?tab={tab}", not show, sum(counts.values()), None)]
    for status in STEP:
        count = counts.get(status, 0)
        if count or show == status:
            look = step_look(status)
            href = f"{path}?{urlencode({'tab': tab, 'show': status})}"
            chips.append(Chip(look.word, href, show == status, count, look))
    return chips


def event_rows(page: EventPage) -> EventRows:
    """The events of a page."""
    return EventRows(
        [
            EventRow(
                event.seq, event.at, event.type, event.step, event.attempt, event.sentence,
                _json(event.data),
            )
            for event in page.events
        ]
    )  # fmt: skip


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text if len(text) <= _MOST_EVENT else f"{text[:_MOST_EVENT]}\n…"


def plan_text(view: PlanView) -> str | None:
    """The plan as YAML; long ones are cut."""
    if view.plan is None:
        return None
    text = yaml.safe_dump(view.plan, sort_keys=False, allow_unicode=True, width=100)
    return text if len(text) <= _MOST_PLAN else f"{text[:_MOST_PLAN]}\n…"


def rendered(
    view: PlanView, details: Sequence[StepDetail | StepSummary], path: str
) -> list[Rendered]:
    """The values of the steps that were dispatched, beside what the plan says."""
    written = _parameters(view.plan or {})
    found = []
    for step in details:
        values = getattr(step, "input_data", None)
        if not step.attempt or not isinstance(values, dict):
            continue
        literal = written.get(step.step, {})
        rows = []
        for name, value in values.items():
            shown, before = _brief(value), _brief(literal.get(name))
            rows.append((str(name), before, shown, name in literal and before != shown))
        found.append(Rendered(step.step, step.tool or "", link(path, "plan", step.step), rows))
    return found


def _parameters(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    steps = plan.get("steps")
    found: dict[str, dict[str, Any]] = {}
    for step in steps if isinstance(steps, list) else []:
        if isinstance(step, dict) and isinstance(step.get("parameters"), dict):
            found[str(step.get("id"))] = step["parameters"]
    return found


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else f"{text[:300]}…"
