"""The audit trail of one execution: who asked, who approved, what ran where, what changed; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from streams.lifecycle import TERMINAL_EVENTS

#: Of a dispatched attempt, what belongs to the machinery and not to the trail.
_MACHINERY: Final = frozenset({"topic", "timeout_seconds", "lease_seconds", "expires_at"})
#: What is told of who asked, in this order, where it is there.
_ASKED: Final = (
    "actor", "claimed_actor", "key", "environment", "name", "plan_hash", "idempotency_key",
    "procedure", "action_class", "approval_level", "rerun_of", "earlier_actors",
)  # fmt: skip
_APPROVALS: Final = {
    "execution.approval_requested": "requested",
    "execution.approval_given": "given",
    "execution.approved": "approved",
}
_CONTROL: Final = {
    "execution.paused": "paused",
    "execution.resumed": "resumed",
    "execution.cancel_requested": "cancel requested",
    "execution.needs_attention": "needs attention",
}
#: The end of an attempt, or what is known of it instead.
_ENDS: Final = frozenset(
    {"step.succeeded", "step.failed", "step.timed_out", "step.cancelled", "step.lost"}
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the trail, with the fields of its data that belong to it."""

    seq: int
    at: str
    what: str
    facts: dict[str, Any]


@dataclass(slots=True)
class Attempt:
    """One attempt: what was to run, who ran it, and what came of it."""

    step: str
    attempt: int
    dispatched_at: str
    tool: str
    target: str | None
    parameters: dict[str, Any]
    #: Parameter, as a JSON pointer, or name → path of the secret that stood there.
    secrets: dict[str, str]
    #: Whatever else was dispatched with it, such as the fencing tokens.
    more: dict[str, Any]
    executor: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    status: str = "dispatched"
    #: What the tool says it changed; None where it does not say.
    changed: bool | None = None
    message: str | None = None
    #: The script that ran, by its hash.
    script_sha256: str | None = None


@dataclass(slots=True)
class Trail:
    """Everything of an execution that an audit asks for."""

    execution_id: str
    tenant: str | None = None
    asked: Entry | None = None
    approvals: list[Entry] = field(default_factory=list)
    decisions: list[Entry] = field(default_factory=list)
    control: list[Entry] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    ended: Entry | None = None
    #: That of the event that ended it: to be kept elsewhere by who wants to compare later.
    chain: str | None = None


def trail(execution_id: str, events: Iterable[dict[str, Any]]) -> Trail:
    """Build it from the events in order, as they stand in the topic or in the tables."""
    found = Trail(execution_id)
    attempts: dict[tuple[str, int], Attempt] = {}
    for event in events:
        found.tenant = event["tenant"]
        if event.get("step") is None or event["type"].startswith("audit."):
            _take(found, event)
        else:
            _step(found, attempts, event)
    return found


def _take(found: Trail, event: dict[str, Any]) -> None:
    kind, data = event["type"], event["data"]
    if kind == "execution.accepted":
        facts = {name: data[name] for name in _ASKED if data.get(name)}
        found.asked = Entry(event["seq"], event["at"], "accepted", facts)
    elif kind in _APPROVALS:
        found.approvals.append(_entry(event, _APPROVALS[kind]))
    elif kind in _CONTROL:
        found.control.append(_entry(event, _CONTROL[kind]))
    elif kind == "audit.secret_used":
        entry = _entry(event, "secrets used")
        entry.facts.update({name: event.get(name) for name in ("step", "attempt")})
        found.decisions.append(entry)
    elif kind.startswith("audit."):
        found.decisions.append(_entry(event, "allowed" if data.get("allowed") else "refused"))
    elif kind in TERMINAL_EVENTS:
        found.ended = _entry(event, kind.removeprefix("execution.").replace("_", " "))
        found.chain = event.get("chain")


def _entry(event: dict[str, Any], what: str) -> Entry:
    facts = {name: value for name, value in event["data"].items() if value not in (None, [], {})}
    return Entry(event["seq"], event["at"], what, facts)


def _step(found: Trail, attempts: dict[tuple[str, int], Attempt], event: dict[str, Any]) -> None:
    kind, data, at = event["type"], event["data"], event["at"]
    key = (event["step"], event.get("attempt") or 0)
    if kind == "step.dispatched":
        attempts[key] = _dispatched(key, at, data)
        found.attempts.append(attempts[key])
        return
    attempt = attempts.get(key)
    if attempt is None:
        return
    if kind == "step.started":
        attempt.executor, attempt.started_at, attempt.status = data["executor"], at, "running"
    elif kind in _ENDS:
        attempt.status = kind.removeprefix("step.").replace("_", " ")
        attempt.ended_at = at
        attempt.message = _message(data)
        output = data.get("output")
        changed = output.get("changed") if isinstance(output, dict) else None
        attempt.changed = changed if isinstance(changed, bool) else None
        attempt.script_sha256 = _script(output) or _script(data.get("evidence"))


def _script(told: Any) -> str | None:
    """The hash that the executor named, in its output or in the evidence of a stop."""
    found = told.get("script_sha256") if isinstance(told, dict) else None
    return found if isinstance(found, str) else None


def _dispatched(key: tuple[str, int], at: str, data: dict[str, Any]) -> Attempt:
    known = {"tool", "target", "parameters", "secret_paths", "secrets", *_MACHINERY}
    parameters = data.get("parameters") or {}
    secrets = {
        pointer: _secret_path(_at(parameters, pointer))
        for pointer in data.get("secret_paths") or ()
    }
    secrets |= {name: _secret_path(item) for name, item in (data.get("secrets") or {}).items()}
    more = {name: item for name, item in data.items() if name not in known and item}
    step, attempt = key
    return Attempt(step, attempt, at, data["tool"], data.get("target"), parameters, secrets, more)


def _at(tree: Any, pointer: str) -> Any:
    """The value at a JSON pointer; None where there is none. Source: RFC 6901."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(tree, dict):
            tree = tree.get(name)
        elif isinstance(tree, list) and name.isdigit() and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return None
    return tree


def _secret_path(reference: Any) -> str:
    path = reference.get("path") if isinstance(reference, dict) else reference
    return path if isinstance(path, str) else "?"


def _message(data: dict[str, Any]) -> str | None:
    error = data.get("error")
    message = error.get("message") if isinstance(error, dict) else data.get("reason")
    return message if isinstance(message, str) else None
