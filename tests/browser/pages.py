"""The pages that are looked at: by the tests, and for the pictures of the documents."""

from __future__ import annotations

from typing import Final

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
}
