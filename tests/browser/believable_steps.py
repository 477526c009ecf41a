"""Believable steps, attempts and events of one execution."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from reading.models.events import EventView
from reading.models.steps import Attempt, StepDetail, StepStream, StepSummary, StreamExcerpt

#: What a program wrote that wants to be more than text.
HOSTILE_OUTPUT = (
    "<script>window.pwned = 1</script>\x1b]0;title\x07\x1b[2J\x1b[31merror:\x1b[0m "
    '<img src=x onerror="window.pwned=1">\n'
)
HOSTS = tuple(f"web-{number:02}" for number in range(1, 9))


def _step(step: str, index: int, status: str, **given: Any) -> StepSummary:
    values: dict[str, Any] = dict(
        step=step, step_index=index, parent=None, undoes=None, tool="df", domain="automation",
        description=None, depends_on=[], target=None, status=status, status_reason=None,
        waiting_until=None, attempt=0 if status in ("pending", "skipped") else 1,
        executor=None if status == "pending" else "executor-automation-1", percent=None,
        progress_message=None, started_at=None, completed_at=None, duration_seconds=None,
        cancel_requested_at=None, error_class=None, error_message=None,
    )  # fmt: skip
    values.update(given)
    return StepSummary.model_validate(values)


def roll_out(begin: datetime, now: datetime) -> list[StepSummary]:
    """A roll-out over eight hosts under way: checks, a block for each host, a check, a note."""

    def ran(since: float, seconds: float) -> dict[str, Any]:
        at = begin + timedelta(seconds=since)
        end = at + timedelta(seconds=seconds)
        return {"started_at": at, "completed_at": end, "duration_seconds": seconds}

    steps = [
        _step("disk", 0, "succeeded", tool="df", target="web-01", **ran(0.3, 1.1)),
        _step("certificate", 1, "succeeded", tool="openssl", target="lb-01", **ran(0.3, 2.4)),
        _step("snapshot", 2, "succeeded", tool="pg_dump", depends_on=["disk"], attempt=3,
              target="db-01", **ran(16.0, 21.5)),
        _step("roll", 3, "running", tool="block", depends_on=["snapshot", "certificate"],
              started_at=begin + timedelta(seconds=38)),
    ]  # fmt: skip
    for number, host in enumerate(HOSTS):
        parent = f"roll[{number}]"
        at = 38 + 14.0 * (number // 2)
        late = number >= 6
        done = number < 4
        status = "succeeded" if done else ("pending" if late else "running")
        steps.append(_step(parent, 3, status, parent="roll", tool="block",
                           **(ran(at, 13) if done else {})))  # fmt: skip
        inner = (("drain", "http_client", 2.0), ("patch", "apt", 8.0), ("check", "curl", 1.2))
        for place, (name, tool, seconds) in enumerate(inner):
            given: dict[str, Any] = {
                "parent": parent, "tool": tool, "target": host,
                "depends_on": [] if not place else [f"{parent}.{inner[place - 1][0]}"],
            }  # fmt: skip
            state = "succeeded" if done else "pending"
            if number == 2 and name == "check":
                state = "failed"
                given |= {
                    "error_class": "http_status",
                    "error_message": "HTTP 502 from http://web-03:8080/healthz",
                    "attempt": 3,
                }
            if number == 4 and name == "drain":
                state = "succeeded"
            if number == 4 and name == "patch":
                state = "running"
                given |= {"percent": 62.0, "progress_message": "unpacking linux-image-6.1"}
            if number == 5 and name == "drain":
                state = "waiting"
                given["status_reason"] = "waits for the lock on web-06, held by nightly backup"
            if state in ("succeeded", "failed"):
                given |= ran(at + sum(one[2] for one in inner[:place]), seconds)
            if state == "running":
                given["started_at"] = begin + timedelta(seconds=at + 2)
            steps.append(_step(f"{parent}.{name}", 3, state, **given))
    steps += [
        _step("verify", 4, "pending", tool="nmap", depends_on=["roll"], target="lb-01"),
        _step("tell", 5, "pending", tool="slack_cli", depends_on=["verify"]),
    ]
    return steps


def deployment(begin: datetime) -> list[StepSummary]:
    """A deployment that failed at its check, after five attempts."""

    def ran(since: float, seconds: float) -> dict[str, Any]:
        at = begin + timedelta(seconds=since)
        end = at + timedelta(seconds=seconds)
        return {"started_at": at, "completed_at": end, "duration_seconds": seconds}

    return [
        _step("build", 0, "succeeded", tool="git_checkout", target="ci-02", **ran(0.2, 8.1)),
        _step("backup", 1, "succeeded", tool="pg_dump", target="db-01", **ran(0.2, 19.4)),
        _step("release", 2, "succeeded", tool="rsync", depends_on=["build", "backup"],
              target="api-01", **ran(19.8, 12.2)),
        _step("restart", 3, "succeeded", tool="systemctl", depends_on=["release"],
              target="api-01", **ran(32.3, 3.6)),
        _step("health", 4, "failed", tool="curl", depends_on=["restart"], target="api-01",
              attempt=5, error_class="http_status",
              error_message="HTTP 502 from https://api.acme.example/healthz", **ran(72.4, 1.4)),
        _step("tell", 5, "skipped", tool="slack_cli", depends_on=["health"],
              status_reason="health failed"),
    ]  # fmt: skip


@cache
def many(count: int, begin: datetime) -> list[StepSummary]:
    """A plan of many steps, each after the one before, half of them done."""
    steps = []
    for number in range(count):
        done = number < count // 2
        at = begin + timedelta(seconds=number / 10)
        steps.append(_step(
            f"step-{number}", number,
            ("succeeded", "succeeded", "succeeded", "failed")[number % 4] if done else "pending",
            depends_on=[f"step-{number - 1}"] if number else [],
            started_at=at if done else None,
            completed_at=at + timedelta(seconds=1) if done else None,
            duration_seconds=1.0 if done else None,
        ))  # fmt: skip
    return steps


def attempts_of(step: StepSummary) -> list[Attempt]:
    """The attempts of a step: the last one, and failed ones before it."""
    if not step.attempt or step.started_at is None or step.tool == "block":
        return []
    found = []
    for number in range(1, step.attempt + 1):
        last = number == step.attempt
        back = timedelta(seconds=(step.attempt - number) * 8.5)
        begin = step.started_at - back
        error = "connection reset by peer" if not last else step.error_message
        found.append(Attempt(
            step=step.step, attempt=number, tool=step.tool, domain=step.domain,
            target=step.target, executor=step.executor,
            status=step.status if last else "failed",
            dispatched_at=begin - timedelta(milliseconds=120), expires_at=None, started_at=begin,
            completed_at=step.completed_at if last else begin + timedelta(seconds=1.4),
            duration_seconds=step.duration_seconds if last else 1.4,
            error_class="connection" if error else None, error_message=error,
            transient=not last if error else None, final=last, output=None,
            stdout=StreamExcerpt(bytes=4_211, sha256=None, head="", tail="", lost_bytes=0),
            stderr=None, evidence=None,
        ))  # fmt: skip
    return found


def detail_of(step: StepSummary) -> StepDetail:
    """The step with its inputs, outputs and streams."""
    attempts = attempts_of(step)
    streams = [
        StepStream(attempt=one.attempt, stream=name, bytes=4_211 if name == "stdout" else 512,
                   first_at=one.started_at, last_at=one.started_at)
        for one in attempts for name in ("stdout", "stderr") if one.started_at
    ]  # fmt: skip
    return StepDetail(
        **step.model_dump(),
        input_data={
            "host": step.target, "packages": ["linux-image-amd64", "openssl"], "dry_run": False,
            "token": {"$secret": "vault:kv/patch#token"}, "note": HOSTILE_OUTPUT,
        },
        output_data={"changed": True, "packages": {"openssl": "3.0.15", "linux": "6.1.112"},
                     "reboot": False, "duration_ms": 8123} if step.status == "succeeded" else None,
        attempts=attempts, streams=streams, children=0,
    )  # fmt: skip


def events_of(ident: str, steps: list[StepSummary], begin: datetime) -> list[EventView]:
    """Events that led to these steps, in the order of time."""
    found: list[tuple[datetime, str, str | None, int | None, str, dict[str, Any]]] = [
        (begin - timedelta(seconds=2), "execution.accepted", None, None,
         "accepted from ci@acme: 8 steps", {"actor": "ci@acme", "environment": "prod"}),
        (begin, "execution.started", None, None, "started", {}),
    ]  # fmt: skip
    for step in steps:
        for attempt in attempts_of(step):
            at, end, number = attempt.started_at, attempt.completed_at, attempt.attempt
            if at is None or attempt.dispatched_at is None:
                continue
            name = step.step
            found.append((attempt.dispatched_at, "step.dispatched", name, number,
                          f"sent to steps.{step.domain}", {"tool": step.tool}))  # fmt: skip
            found.append((at, "step.started", name, number, f"started by {step.executor}", {}))
            if end is None:
                continue
            if attempt.status == "succeeded":
                found.append((end, "step.succeeded", name, number, "succeeded", {"output": {}}))
            else:
                why = attempt.error_message or "failed"
                found.append((end, "step.failed", name, number, why, {"final": attempt.final}))
                if not attempt.final:
                    found.append((end, "step.retry_scheduled", name, number,
                                  f"attempt {number + 1} of 3 in 3.6 s: {attempt.error_message}",
                                  {"delay_seconds": 3.6}))  # fmt: skip
        if step.status == "waiting":
            at, why = begin + timedelta(seconds=66), step.status_reason or ""
            said = {"reason": "lock", "message": why}
            found.append((at, "step.waiting", step.step, None, why, said))
    found.sort(key=lambda one: one[0])
    return [
        EventView(event_id=f"{ident}:{seq}", seq=seq, type=kind, at=at, step=name,
                  attempt=attempt, sentence=sentence, data=data)
        for seq, (at, kind, name, attempt, sentence, data) in enumerate(found, 1)
    ]  # fmt: skip


def output_of(step: str, stream: str) -> str:
    """What the step wrote, with colours, and with what wants to be more than text."""
    if stream == "stderr":
        return f"warning: {step}: the clock is 3 s ahead\n"
    lines = [
        "Hit:1 http://deb.debian.org/debian bookworm InRelease",
        "Reading package lists... \x1b[32mDone\x1b[0m",
        "The following packages will be upgraded:",
        "  \x1b[1mlinux-image-6.1\x1b[0m openssl",
        HOSTILE_OUTPUT.rstrip("\n"),
        "Progress:  10 %\rProgress:  60 %\rProgress: 100 %",
        *(f"Setting up package-{number} (1.{number}-2) ..." for number in range(1, 60)),
        "\x1b[33mW:\x1b[0m a reboot is needed",
    ]
    return "\n".join(lines) + "\n"
