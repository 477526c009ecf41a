"""The pages that are looked at: by the tests, and for the pictures of the documents."""

from __future__ import annotations

from typing import Final

from tests.browser.believable import execution_id
from tests.browser.shown import first_ids

_IDS: Final = first_ids()
_RUNNING: Final = f"/executions/{_IDS['running']}"

#: Every page by its name; the name is that of its picture.
PAGES: Final[dict[str, str]] = {
    "login": "/login",
    "executions": "/executions",
    "executions-none": "/executions?text=no+such+words&actor=nobody",
    "execution": _RUNNING,
    "execution-graph": f"{_RUNNING}?tab=graph",
    "execution-steps": f"{_RUNNING}?tab=steps",
    "execution-events": f"{_RUNNING}?tab=events",
    "execution-plan": f"{_RUNNING}?tab=plan",
    "execution-panel": f"{_RUNNING}?tab=timeline&step=roll%5B4%5D.patch",
    "execution-failed": f"/executions/{_IDS['failed']}?step=health",
    "execution-approval": f"/executions/{_IDS['approval']}",
    "execution-large": f"/executions/{_IDS['large']}",
    "confirm": f"{_RUNNING}/do/cancel",
    "not-found": "/executions/no-such-execution",
    "approvals": "/approvals",
    "approval": f"/approvals/{execution_id(1)}",
    "approval-own": f"/approvals/{execution_id(2)}",
    "approval-hostile": f"/approvals/{execution_id(3)}",
    "start": "/start",
    "start-procedure": "/start/patch-web",
    "start-plan": "/start/plan?tool=df",
    "dead-letters": "/dead-letters",
    "dead-letter": "/dead-letters/execution.requests.dlq/0/1200",
    "dead-letter-bytes": "/dead-letters/execution.requests.dlq/3/1203",
    "redrive": "/dead-letters/redrive",
    "schedules": "/schedules",
    "schedule": "/schedules/backup",
    "triggers": "/triggers",
    "trigger": "/triggers/on-upload",
    "tools": "/tools?text=disk",
    "tool": "/tools/df",
    "locks": "/locks",
    "executors": "/executors",
    "overview": "/overview",
}
#: Pages of an installation that has nothing yet, or whose broker is away.
EMPTY: Final[dict[str, str]] = {
    "approvals": "/approvals",
    "start": "/start",
    "dead-letters": "/dead-letters",
    "executors": "/executors",
    "overview": "/overview",
}
