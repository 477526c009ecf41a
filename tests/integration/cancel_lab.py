"""A router and executors, and executions in every state that a cancel can meet."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from streams import ids
from streams.events import decode_event
from streams.lifecycle import execution_status, step_status
from streams.topics import CONTROL, DEAD_LETTERS, STEPS
from tests.conftest import POLICY
from tests.integration.local_lab import programs_of
from tests.integration.router_lab import EXECUTOR, RouterLab, own_topics, router_lab
from tests.integration.test_router_group import USED

REASON = "not wanted any more"
#: Of the immediate lane; the bulk lane has one, which one step fills.
SLOTS = 64
#: The first step of a target of this name may act, the next one waits for hours.
RATED = "rated-1"
_RATES = [{"name": "one", "targets": ["rated-*"], "per": ["target"], "per_second": 0.0001}]
_MORE = [STEPS[domain, lane] for domain in ("automation", "communication")
         for lane in ("bulk", "immediate")]  # fmt: skip
_TOPICS = (*USED, *_MORE, *(DEAD_LETTERS[topic.name] for topic in _MORE))
_DOOMED = ("-m", "console", "executor", "--domain", "automation")

Steps = list[dict[str, Any]]


@dataclass(frozen=True)
class Entered:
    """An execution in the state in which a cancel is to meet it, and what is to become of it."""

    execution_id: str
    #: Of the execution and of its steps, before the cancel.
    status: str
    before: dict[str, str]
    #: Of its steps, after it.
    after: dict[str, str]
    #: The steps of which `step.cancelled` says that nobody knows whether they have ended.
    unconfirmed: frozenset[str] = frozenset()
    #: What has to happen after the cancel, so that the execution can end.
    then: Callable[[], None] = field(default=lambda: None)


class CancelLab:
    """One installation: the domain `test` is served, `automation` until a kill, the rest not."""

    def __init__(self, lab: RouterLab, folder: Path) -> None:
        """Start its processes; steps may write into the folder."""
        self.lab = lab
        self.folder = folder
        self.log = lab.log
        lab.start("router", policy=POLICY)
        lab.start(
            "executor", EXECUTOR, concurrency=1, immediate_concurrency=SLOTS,
            rate_limits=orjson.dumps(_RATES).decode(),
        )  # fmt: skip
        lab.start("doomed", _DOOMED, startable_programs="sleep")
        self._lost = self._lose_an_attempt()
        self._unserved = self.submit([{"id": "one", "tool": "sendmail", "parameters": {
            "to": "ops@example.com", "subject": "x", "body": "y"}}])  # fmt: skip
        self.until(self._unserved, "step.dispatched")
        self.control("cancel", self._unserved)

    # -- steps -----------------------------------------------------------------------------------

    def lock(self) -> dict[str, Any]:
        """A step that locks an asset of its own, which its execution keeps to its end."""
        return {"id": "lock", "tool": "change", "assets": [f"asset-{uuid.uuid4().hex}"]}

    def program(self, name: str) -> dict[str, Any]:
        """A step whose program says that it began, and ends well as soon as it may."""
        began, go = self.folder / f"{name}.began", self.folder / f"{name}.go"
        words = ["sh", "-c", f"touch {began}; while ! test -e {go}; do sleep 0.05; done"]
        return {"tool": "argv", "parameters": {"argv": words}}

    def go(self, name: str) -> None:
        """Let the program of this name end."""
        (self.folder / f"{name}.go").touch()

    # -- writing ---------------------------------------------------------------------------------

    def submit(self, steps: Steps, **plan: Any) -> str:
        """Submit a plan for the immediate lane; returns its execution id."""
        key = uuid.uuid4().hex
        route = ids.route_key("default", key)
        ident = ids.mint_execution_id(route, int(time.time() * 1_000), uuid.uuid4().int % 2**42)
        timed = [{"timeout_seconds": 60, **step} for step in steps]
        body = {"steps": timed, "sla_class": "fast", "timeout_seconds": 600, **plan}
        request = {"execution_id": ident, "idempotency_key": key, "plan": body}
        self.lab.produce(orjson.dumps(request), route.encode())
        return ident

    def control(self, kind: str, execution_id: str) -> None:
        """Send a control message."""
        command = {"type": kind, "execution_id": execution_id, "actor": "ops", "reason": REASON}
        self.lab.produce(orjson.dumps(command), ids.route_of(execution_id).encode(), CONTROL.name)

    # -- reading ---------------------------------------------------------------------------------

    def of(self, execution_id: str, kind: str, step: str | None = None) -> list[dict[str, Any]]:
        """The events of this type so far, of one step or of all."""
        events = self.log.events[execution_id]
        return [e for e in events if e["type"] == kind and step in (None, e.get("step"))]

    def until(self, execution_id: str, kind: str, step: str | None = None) -> dict[str, Any]:
        """The first event of this type, once there is one."""
        what = f"{kind} of {step or execution_id}"
        self.lab.until(lambda: bool(self.of(execution_id, kind, step)), what)
        return self.of(execution_id, kind, step)[0]

    def until_it_acts(self, name: str) -> None:
        """The program of this name has begun."""
        self.lab.until((self.folder / f"{name}.began").exists, f"{name} acts")

    def left(self, execution_id: str = "") -> list[str]:
        """The attempts of this execution, or of all, of which a process still runs."""
        executors = {process.pid for process in self.lab.processes.values()}
        return [mark for mark in programs_of(executors) if execution_id in mark]

    # -- what is there from the beginning, since leases and answers are waited for -----------------

    def _lose_an_attempt(self) -> str:
        words = {"program": "sleep", "arguments": ["600"]}
        ident = self.submit([self.lock(), {"id": "one", "tool": "nice", "parameters": words}])
        self.until(ident, "step.started", "one")
        self.lab.until(lambda: bool(self.left(ident)), "the program acts")
        self.lab.processes["doomed"].kill()
        return ident

    def lost(self) -> str:
        """An execution with an attempt whose executor was killed, once that is noticed."""
        self.until(self._lost, "execution.needs_attention")
        return self._lost

    def unserved(self) -> str:
        """An execution that was cancelled while no executor served the domain of its step."""
        return self._unserved


def statuses(events: list[dict[str, Any]]) -> tuple[str | None, dict[str, str]]:
    """The status of the execution and of the steps that the events name."""
    execution: str | None = None
    steps: dict[str, str] = {}
    for one in events:
        event = decode_event(orjson.dumps(one))
        execution = execution_status(execution, event)
        if event.step is not None:
            steps[event.step] = step_status(steps.get(event.step, "pending"), event)
    return execution, steps


@contextmanager
def cancel_lab(kafka: str, folder: Path) -> Iterator[CancelLab]:
    """A lab on topics of its own, which leaves nothing behind."""
    opened = Path(tempfile.mkdtemp(prefix="open-"))
    # Programs of steps have users of their own.
    opened.chmod(0o777)
    try:
        with own_topics(kafka, _TOPICS) as prefix, router_lab(kafka, prefix, folder) as lab:
            yield CancelLab(lab, opened)
    finally:
        shutil.rmtree(opened)
