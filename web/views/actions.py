"""Actions: what a person can do to an execution, by its status and the person's rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from api.caller import Caller
from authority.policy_document import Verb
from reading.models.executions import ExecutionSummary
from streams.lifecycle import ENDED, RERUNNABLE
from streams.vocabulary import Environment

#: What a page asks the router for.
Action = Literal["cancel", "pause", "resume", "approve", "reject", "rerun", "redrive", "resolve"]

_LABELS: Final[dict[Action, tuple[str, str]]] = {
    "approve": ("Approve", "check"),
    "reject": ("Reject", "ban"),
    "resolve": ("Resolve", "check"),
    "resume": ("Resume", "play"),
    "pause": ("Pause", "pause"),
    "rerun": ("Rerun", "refresh"),
    "redrive": ("Redrive", "refresh"),
    "cancel": ("Cancel", "square"),
}
#: In the order in which they are shown, the likeliest first.
_BY_STATUS: Final[dict[str, tuple[Action, ...]]] = {
    "pending_approval": ("approve", "reject", "cancel"),
    "approved": ("pause", "cancel"),
    "queued": ("pause", "cancel"),
    "running": ("pause", "cancel"),
    "paused": ("resume", "cancel"),
    "needs_attention": ("resolve", "pause", "cancel"),
}
_ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)


@dataclass(frozen=True, slots=True)
class Button:
    """One action as a button; where the person may not, it says why."""

    action: Action
    label: str
    icon: str
    href: str
    #: The likeliest one, and those that end something.
    primary: bool
    danger: bool
    why_not: str | None


def buttons(summary: ExecutionSummary, caller: Caller, path: str) -> list[Button]:
    """The actions that fit the status of the execution."""
    status = summary.status or ""
    fitting = _BY_STATUS.get(status, ("rerun",) if status in RERUNNABLE else ())
    return [
        Button(
            action=action,
            label=_LABELS[action][0],
            icon=_LABELS[action][1],
            href=f"{path}/do/{action}",
            primary=place == 0 and action not in ("pause", "cancel"),
            danger=action in ("cancel", "reject"),
            why_not=why_not(summary, caller, action),
        )
        for place, action in enumerate(fitting)
    ]


def why_not(summary: ExecutionSummary, caller: Caller, action: Action) -> str | None:
    """Why the caller may not do this, as a sentence; None where the caller may."""
    if caller.read_only:
        return "Your token is for reading only."
    environment = next((one for one in _ENVIRONMENTS if one == summary.environment), None)
    if environment is None:
        return "Nobody knows where it runs."
    verb: Verb = action
    level = summary.approval_level or 0
    verdict = caller.rights.control(verb, environment, level, summary.actor or "")
    return None if verdict.allowed else verdict.message or "The policy does not allow it."


def fits(summary: ExecutionSummary, action: Action) -> bool:
    """Whether the action means something to an execution in this status."""
    status = summary.status or ""
    if status in ENDED:
        return action in ("rerun", "redrive") and status in RERUNNABLE
    return action in _BY_STATUS.get(status, ())
