"""One clear line for each event: for logs, pipes and terminals that cannot redraw."""

from __future__ import annotations

from typing import Any

from console.text import brief, count, one_line, seconds
from streams.events import Event


def sentence(event: Event) -> str:
    """What happened, in one line without its time; unknown types are named, never refused."""
    if event.type.startswith("step."):
        again = f" (attempt {event.attempt})" if (event.attempt or 1) > 1 else ""
        return one_line(f"{event.step}{again} {_step(event.type[5:], event.data)}", 400)
    kind = event.type.removeprefix("execution.")
    return one_line(_execution(kind, event.data), 400)


def _execution(kind: str, data: dict[str, Any]) -> str:
    match kind:
        case "accepted":
            steps = len(data.get("plan", {}).get("steps", []))
            how = f"{data.get('sla_class')}, {data.get('mode')}, {data.get('action_class')}"
            return f"accepted: {count(steps, 'step')} ({how})"
        case "rejected":
            return f"rejected: {data.get('message')}"
        case "duplicate":
            return f"the same request came again from {data.get('actor')}; nothing was run for it"
        case "approval_requested":
            who = data.get("requested_by")
            return f"waits for approval (level {data.get('level')}) by someone other than {who}"
        case "approved" | "paused" | "resumed":
            return f"{kind} by {data.get('actor')}{_because(data)}"
        case "cancel_requested":
            return f"cancel asked for by {data.get('actor')}{_because(data)}"
        case "needs_attention":
            return f"needs attention: {data.get('message')}"
        case "audit.decision":
            verdict = "allowed" if data.get("allowed") else "refused"
            words = f"{data.get('action')} by {data.get('actor')} {verdict}"
            return f"{words}: {data['message']}" if data.get("message") else words
        case "completed" | "partial" | "failed" | "cancelled" | "timed_out":
            return f"{kind.replace('_', ' ')} {ending(data)}"
    return kind.replace("_", " ")


def _because(data: dict[str, Any]) -> str:
    return f": {data['reason']}" if data.get("reason") else ""


def ending(data: dict[str, Any]) -> str:
    """How long it took and what became of the steps."""
    steps = ", ".join(
        f"{number} {status.replace('_', ' ')}" for status, number in data.get("steps", {}).items()
    )
    took = f"after {seconds(data.get('elapsed_seconds'))}"
    return f"{took}: {steps}{_because(data)}" if steps else f"{took}{_because(data)}"


def _step(kind: str, data: dict[str, Any]) -> str:
    match kind:
        case "waiting" | "needs_attention":
            return f"{'waits' if kind == 'waiting' else 'needs attention'}: {data.get('message')}"
        case "expanded":
            return f"becomes {count(int(data.get('items', 0)), 'step')}"
        case "dispatched":
            target = f" for {data['target']}" if data.get("target") else ""
            return f"sent to the {data.get('domain')} executors ({data.get('tool')}{target})"
        case "started":
            return f"started on {data.get('executor')}"
        case "progress":
            percent = data.get("percent")
            done = "running" if percent is None else f"{percent:.0f} %"
            return f"{done} {data.get('message') or ''}".rstrip()
        case "succeeded":
            result = brief(data.get("output"))
            took = f"succeeded in {seconds(data.get('duration_seconds'))}"
            return f"{took}: {result}" if result else took
        case "failed" | "timed_out":
            error = data.get("error", {})
            after = f"{kind.replace('_', ' ')} after {seconds(data.get('duration_seconds'))}"
            return f"{after}: {error.get('message')} [{error.get('class')}]"
        case "retry_scheduled":
            tries = f"{data.get('next_attempt')} of {data.get('max_attempts')}"
            return f"will be tried again in {seconds(data.get('delay_seconds'))} (attempt {tries})"
        case "lost":
            return f"lost: its executor was silent for {seconds(data.get('lease_seconds'))}"
        case "cancelled":
            certain = "" if data.get("confirmed") else ", without proof that it stopped"
            return f"cancelled{certain}: {data.get('reason')}"
        case "skipped":
            return f"skipped: {data.get('reason')}"
        case "late_result":
            return f"late report ignored: {data.get('report')}"
        case "compensation_scheduled":
            return f"will be undone by {data.get('by')}"
        case "compensated":
            return f"undone by {data.get('by')}"
    return kind.replace("_", " ")
