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
    "execution.requests": {"people", "router"},
    "execution.control": {"people", "router"},
    "execution.procedures": {"people"},
    "schedules.commands": {"people", "router"},
    "triggers.commands": {"people", "matcher"},
    "triggers.state": {"router"},
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
    "execution.events": {"sink", "projector", "people"},
    "router.state": {"router"},
    "locks.commands": {"router"},
    "locks.grants": {"router"},
    "locks.state": {"router", "people"},
    "schedules.commands": {"router"},
    "schedules.state": {"router", "people"},
    "steps.reports": {"router"},
    "execution.output": {"sink", "people"},
    "execution.progress": {"projector", "people"},
    "execution.requests": {"router"},
    "execution.control": {"router"},
    "execution.procedures": {"router", "people"},
    "triggers.commands": {"router"},
    "triggers.state": {"router", "matcher", "people"},
    "execution.requests.dlq": {"people", "sink"},
    "execution.control.dlq": {"people", "sink"},
    "steps.reports.dlq": {"people", "sink"},
    "locks.commands.dlq": {"people", "sink"},
    "schedules.commands.dlq": {"people", "sink"},
    "locks.grants.dlq": {"people", "sink"},
    "triggers.commands.dlq": {"people", "sink"},
    "execution.events.dlq": {"people", "sink"},
    "execution.output.dlq": {"people", "sink"},
}
for _user in _EXECUTORS:
    _steps = f"steps.{_user.removeprefix('executor-')}"
    for _topic in (_steps, f"{_steps}.immediate"):
        WRITERS[_topic] = {"router"}
        READERS[_topic] = {_user}
        WRITERS[f"{_topic}.dlq"] = {"router", _user}
        READERS[f"{_topic}.dlq"] = {"people", "sink"}
