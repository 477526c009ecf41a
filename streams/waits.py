"""Waits: why an execution or a step does not go on, as its events say.

The one place that says which event begins a wait and which one ends it. The projector, the command
line and the console fold the log with it, so they always agree.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

from streams.control_payloads import ApprovalGiven, ApprovalRequested, By, NeedsAttention
from streams.events import Event
from streams.lifecycle import HELD
from streams.payloads import Polled, RetryScheduled, Waiting
from streams.timestamps import unix

#: The first three are of executions, and `needs_attention` of steps too.
WaitReason = Literal[
    "approval", "paused", "needs_attention", "lock", "backoff", "until", "rate_limit",
    "target_limit", "no_executor",
]  # fmt: skip
WAIT_REASONS: Final[tuple[WaitReason, ...]] = get_args(WaitReason)


class Wait(NamedTuple):
    """A wait that has begun; times are Unix seconds.

    `until` is when it goes on by itself (`backoff`, `until`), or ends without success (the others).
    """

    reason: WaitReason
    message: str
    since: float
    until: float | None = None


#: What is kept of a message.
MESSAGE_LENGTH: Final = 200
#: Statuses in which a step, or an execution, waits: in any other it has no wait.
STEP_WAITS: Final = frozenset({"waiting", "needs_attention"})
_NAMED: Final = {1: "one person"}


def step_wait(before: Wait | None, event: Event, status: str) -> Wait | None:
    """The wait of a step after one of its events, which leaves it in `status`.

    A new message for the same reason does not begin another wait.
    """
    if status not in STEP_WAITS:
        return None
    return _going_on(before, _begun(event))


def execution_wait(before: Wait | None, event: Event, status: str) -> Wait | None:
    """The wait of an execution as a whole after one of its events, which leaves it in `status`."""
    if status not in HELD or event.step is not None:
        return before if status in HELD else None
    if isinstance(event.data, ApprovalGiven) and before is not None:
        left = event.data.level - event.data.given
        return before._replace(message=f"waits for {left} more of {event.data.level} approvals")
    return _going_on(before, _begun(event))


def _going_on(before: Wait | None, begun: Wait | None) -> Wait | None:
    if begun is None or before is None or begun.reason != before.reason:
        return begun or before
    return begun._replace(since=before.since)


def _begun(event: Event) -> Wait | None:
    """The wait that begins with `event`, or of which it says something new."""
    at = event.unix()
    match event.data:
        case Waiting(reason, message, until):
            end = unix(until) if until is not None else None
            return Wait(reason, message[:MESSAGE_LENGTH], at, end)
        case RetryScheduled() as data:
            message = f"attempt {data.next_attempt} follows after {data.delay_seconds:.1f} s"
            return Wait("backoff", message, at, unix(data.at))
        case Polled() as data:
            message = f"until is not true yet: {data.poll} of {data.limit} attempts"
            return Wait("until", message, at, unix(data.at))
        case NeedsAttention(message):
            return Wait("needs_attention", message[:MESSAGE_LENGTH], at)
        case ApprovalRequested() as data:
            people = _NAMED.get(data.level, f"{data.level} people")
            message = f"waits for approval by {people} other than {data.requested_by}"
            return Wait("approval", message, at, unix(data.expires_at))
        case By() as data if event.type == "execution.paused":
            why = f": {data.reason}" if data.reason else ""
            return Wait("paused", f"paused by {data.actor}{why}"[:MESSAGE_LENGTH], at)
        case _:
            return None
