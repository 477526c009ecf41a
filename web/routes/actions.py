"""Actions on an execution: each asks first, with a reason, and is then sent as by the API.

Without script the question is a page; with it, the same page's question stands in a dialog.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response

from api.caller import Caller, CurrentCaller
from api.commands import DEFAULT_WAIT, Answer
from api.parts import CurrentParts, Parts
from api.problems import Problem
from api.routes import control
from reading.models.executions import ExecutionDetail
from web.routing import redirect, router
from web.sources.executions import CurrentExecutions
from web.templating import page
from web.views.actions import Action, fits, why_not
from web.views.execution import head

actions = router()

_Reason = Annotated[str, Form(max_length=1_000)]
_Text = Annotated[str, Form(max_length=300)]
Outcome = Literal["succeeded", "failed", "retry"]

#: What the question says: title, what will happen, and the button's word.
_QUESTIONS: Final[dict[Action, tuple[str, str, str]]] = {
    "cancel": (
        "Cancel this execution?",
        "Nothing new starts, and what runs is stopped. What was done stays done, unless the plan "
        "says how to undo it.",
        "Cancel it",
    ),
    "pause": ("Pause this execution?", "No further step starts; what runs goes on.", "Pause it"),
    "resume": ("Let it go on?", "Steps that are ready start again.", "Resume it"),
    "approve": ("Approve this plan?", "It starts as soon as it has all its approvals.", "Approve"),
    "reject": ("Reject this plan?", "It ends, and nothing of it was run.", "Reject"),
    "rerun": (
        "Rerun what did not succeed?",
        "A new execution repeats it and keeps the outputs of the steps before.",
        "Rerun",
    ),
    "redrive": (
        "Run the step again?",
        "A new execution runs this step and what follows it, and keeps what succeeded before.",
        "Redrive it",
    ),
    "resolve": (
        "What became of the step?",
        "Its attempt was lost, so nobody knows how far it came. Look at the target first.",
        "Record it",
    ),
}


@actions.get("/executions/{ident}/do/{action}")
def ask(
    request: Request,
    ident: str,
    action: Action,
    caller: CurrentCaller,
    source: CurrentExecutions,
    step: Annotated[str | None, Query(max_length=300)] = None,
) -> Response:
    """The question before the action."""
    detail = source.detail(ident)
    return page(request, "confirm.html", **_question(detail, action, caller, step))


@actions.post("/executions/{ident}/do/{action}")
async def do(
    request: Request,
    ident: str,
    action: Action,
    caller: CurrentCaller,
    parts: CurrentParts,
    reason: _Reason = "",
    step: _Text = "",
    plan_hash: _Text = "",
    outcome: Outcome | None = None,
) -> Response:
    """Do it, and go where its effect is seen."""
    try:
        answer = await _send(
            parts, caller, ident, action, reason.strip() or None, step, plan_hash, outcome
        )
    except Problem as problem:
        if problem.document.status in (401, 404):
            raise
        document = problem.document
        target = f"/executions/{ident}"
        return page(request, "refused.html", document.status, detail=document.detail, target=target)
    notice = action if answer.answer == "followed" else "sent"
    return redirect(f"/executions/{answer.execution_id}?{urlencode({'notice': notice})}")


def _question(
    detail: ExecutionDetail, action: Action, caller: Caller, step: str | None
) -> dict[str, Any]:
    title, text, word = _QUESTIONS[action]
    path = f"/executions/{detail.execution_id}"
    why = why_not(detail, caller, action)
    if not fits(detail, action):
        why = f"It is {detail.status or 'unknown'} now, so there is nothing to {action}."
    if action in ("rerun", "redrive") and step:
        title = f"{word} from {step}?" if action == "rerun" else f"Run {step} again?"
        text = (
            "A new execution repeats this step and what follows it; the others keep their outputs."
        )
    stuck = [wait.step for wait in detail.waits if wait.step and wait.status == "needs_attention"]
    return {
        "head": head(detail, caller, datetime.now(UTC)),
        "action": action,
        "title": title,
        "text": text,
        "word": word,
        "why_not": why,
        "danger": action in ("cancel", "reject"),
        "step": step,
        "stuck": [step] if step and action == "resolve" else stuck,
        "plan_hash": detail.plan_hash or "",
        "target": f"{path}/do/{action}",
        "back": path,
    }


async def _send(
    parts: Parts,
    caller: Caller,
    ident: str,
    action: Action,
    reason: str | None,
    step: str,
    plan_hash: str,
    outcome: Outcome | None,
) -> Answer:
    response = Response()
    why = control.Why(reason=reason)
    match action:
        case "cancel":
            return await control.cancel(ident, response, parts, caller, why, DEFAULT_WAIT)
        case "pause":
            return await control.pause(ident, response, parts, caller, why, DEFAULT_WAIT)
        case "resume":
            return await control.resume(ident, response, parts, caller, why, DEFAULT_WAIT)
        case "reject":
            return await control.reject(ident, response, parts, caller, why, DEFAULT_WAIT)
        case "approve":
            approval = control.Approval(reason=reason, plan_hash=plan_hash)
            return await control.approve(ident, response, parts, caller, approval, DEFAULT_WAIT)
        case "rerun":
            rerun = control.Rerun(reason=reason, from_step=step or None)
            return await control.rerun(ident, response, parts, caller, rerun, DEFAULT_WAIT)
        case "redrive":
            redrive = control.Redrive(reason=reason, step=step)
            return await control.redrive(ident, response, parts, caller, redrive, DEFAULT_WAIT)
        case "resolve":
            if outcome is None:
                raise Problem(422, "invalid_request", "say what became of the step")
            found = control.Resolution(reason=reason, step=step, outcome=outcome)
            return await control.resolve(ident, response, parts, caller, found, DEFAULT_WAIT)
