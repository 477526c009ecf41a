"""Statuses as people see them: a tone, a symbol and a word each; pure.

Waiting is grey, running blue, what succeeded green, what needs a person amber, what failed red.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Tone = Literal["wait", "run", "ok", "person", "fail"]


@dataclass(frozen=True, slots=True)
class Look:
    """How one status is shown."""

    tone: Tone
    #: The symbol's name in templates/icons.html.
    icon: str
    word: str


EXECUTION: Final[dict[str, Look]] = {
    "pending_approval": Look("person", "person", "Needs approval"),
    "needs_attention": Look("person", "attention", "Needs attention"),
    "paused": Look("person", "pause", "Paused"),
    "approved": Look("wait", "clock", "Approved"),
    "queued": Look("wait", "clock", "Queued"),
    "running": Look("run", "running", "Running"),
    "completed": Look("ok", "check", "Completed"),
    "partial": Look("fail", "half", "Partial"),
    "failed": Look("fail", "cross", "Failed"),
    "timeout": Look("fail", "timeout", "Timed out"),
    "rejected": Look("fail", "ban", "Rejected"),
    "cancelled": Look("wait", "square", "Cancelled"),
}

STEP: Final[dict[str, Look]] = {
    "pending": Look("wait", "dot", "Pending"),
    "waiting": Look("wait", "clock", "Waiting"),
    "dispatched": Look("wait", "send", "Sent"),
    "running": Look("run", "running", "Running"),
    "cancelling": Look("wait", "square", "Cancelling"),
    "lost": Look("person", "attention", "Lost"),
    "needs_attention": Look("person", "attention", "Needs attention"),
    "succeeded": Look("ok", "check", "Succeeded"),
    "failed": Look("fail", "cross", "Failed"),
    "timed_out": Look("fail", "timeout", "Timed out"),
    "cancelled": Look("wait", "square", "Cancelled"),
    "skipped": Look("wait", "skip", "Skipped"),
    "compensated": Look("wait", "undo", "Undone"),
}


def execution_look(status: str) -> Look:
    """Of an execution; a status of a later version is shown by its name."""
    return EXECUTION.get(status) or _unknown(status)


def step_look(status: str) -> Look:
    """Of a step."""
    return STEP.get(status) or _unknown(status)


def _unknown(status: str) -> Look:
    return Look("wait", "dot", status.replace("_", " ").capitalize())
