"""Who may write and read which topic, written by hand.

Nothing here comes from the topic registry: a mistake there must not make a test right. The
administrator, who may do everything, is left out.
"""

from __future__ import annotations

from typing import Final

_EXECUTORS: Final = {
    "executor-automation",
    "executor-communication",
    "executor-asset",
    "executor-network",
    "executor-test",
}

#: Topic -> who may write it. Whoever can write one of the first eight runs or decides something.
WRITERS: Final[dict[str, set[str]]] = {
    "executors.control": {"router"},
    "execution.events": {"router"},
    "router.state": {"router"},
    "locks.commands": {"router"},
    "locks.grants": {"router"},
    "locks.state": {"router"},
    "schedules.state": {"router"},
    "steps.reports": set(_EXECUTORS),
    "execution.output": set(_EXECUTORS),
    "execution.progress": {"projector"},
    "execution.requests": {"people", "router", "api"},
    "execution.control": {"people", "router", "api"},
    "execution.procedures": {"people"},
    "schedules.commands": {"people", "router", "api"},
    "triggers.commands": {"people", "router", "matcher", "api"},
    "triggers.state": {"router"},
    "hooks.received": {"api"},
    # Dead letters: of whoever reads the topic.
    "execution.requests.dlq": {"router"},
    "execution.control.dlq": {"router"},
    "steps.reports.dlq": {"router"},
    "locks.commands.dlq": {"router"},
    "schedules.commands.dlq": {"router"},
    "locks.grants.dlq": {"router"},
    "triggers.commands.dlq": {"router"},
    "execution.events.dlq": {"sink"},
    "execution.output.dlq": {"sink"},
}
#: Topic -> who may read it. Commands show rendered parameters.
READERS: Final[dict[str, set[str]]] = {
    "executors.control": set(_EXECUTORS),
    "execution.events": {"sink", "projector", "people", "api"},
    "router.state": {"router"},
    "locks.commands": {"router"},
    "locks.grants": {"router"},
    "locks.state": {"router", "people", "api"},
    "schedules.commands": {"router"},
    "schedules.state": {"router", "people", "api"},
    "steps.reports": {"router"},
    "execution.output": {"sink", "people", "api"},
    "execution.progress": {"projector", "people", "api"},
    "execution.requests": {"router"},
    "execution.control": {"router"},
    "execution.procedures": {"router", "people", "api"},
    "triggers.commands": {"router"},
    "triggers.state": {"router", "matcher", "people", "api"},
    "hooks.received": {"matcher"},
    "execution.requests.dlq": {"people", "api", "sink"},
    "execution.control.dlq": {"people", "api", "sink"},
    "steps.reports.dlq": {"people", "api", "sink"},
    "locks.commands.dlq": {"people", "api", "sink"},
    "schedules.commands.dlq": {"people", "api", "sink"},
    "locks.grants.dlq": {"people", "api", "sink"},
    "triggers.commands.dlq": {"people", "api", "sink"},
    "execution.events.dlq": {"people", "api", "sink"},
    "execution.output.dlq": {"people", "api", "sink"},
}
for _user in _EXECUTORS:
    _steps = f"steps.{_user.removeprefix('executor-')}"
    for _topic in (_steps, f"{_steps}.immediate"):
        WRITERS[_topic] = {"router"}
        READERS[_topic] = {_user}
        WRITERS[f"{_topic}.dlq"] = {"router", _user}
        READERS[f"{_topic}.dlq"] = {"people", "api", "sink"}
