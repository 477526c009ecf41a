"""The topology: which application reads and writes which topic, as data.

It is the one place to look for "what flows where"; the picture in the docs is drawn from it, and
a test compares it with what the applications really subscribe to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streams.topics import (
    CONTROL,
    DEAD_LETTERS,
    EVENTS,
    EXECUTORS_CONTROL,
    OUTPUT,
    PROGRESS,
    REPORTS,
    REQUESTS,
    ROUTER_STATE,
    STEPS,
    Topic,
)


@dataclass(frozen=True, slots=True)
class App:
    """One process type, with the topics it reads and writes."""

    name: str
    job: str
    reads: tuple[Topic, ...]
    writes: tuple[Topic, ...]


ROUTER: Final = App(
    "router",
    "decides: admits plans, dispatches steps, keeps the numbered event log",
    # Requests and control come back to the router once when they were produced off their route.
    reads=(REQUESTS, CONTROL, REPORTS, ROUTER_STATE),
    writes=(*STEPS.values(), EXECUTORS_CONTROL, EVENTS, ROUTER_STATE, REQUESTS, CONTROL),
)
EXECUTOR: Final = App(
    "executor",
    "acts: claims a step, runs it, reports what happened",
    reads=(*STEPS.values(), EXECUTORS_CONTROL),
    writes=(REPORTS, OUTPUT),
)
SINK: Final = App(
    "sink",
    "rests: writes events and output to Postgres, exactly once",
    reads=(EVENTS, OUTPUT, *DEAD_LETTERS.values()),
    writes=(),
)
PROJECTOR: Final = App(
    "projector",
    "knows: folds events into live progress",
    # Its own topic is its store: it restores from there.
    reads=(EVENTS, PROGRESS),
    writes=(PROGRESS,),
)

APPS: Final = (ROUTER, EXECUTOR, SINK, PROJECTOR)


def to_mermaid() -> str:
    """Draw the topology as a Mermaid flow chart; step topics are folded into one node each."""
    lines = ["flowchart LR", "  producers([producers]) --> execution_requests"]
    lines.append("  operators([operators]) --> execution_control")
    seen: set[str] = set()

    def node(topic: Topic) -> str:
        name = "steps.<domain>" if topic in STEPS.values() else topic.name
        if topic in DEAD_LETTERS.values():
            name = "<topic>.dlq"
        ident = name.replace(".", "_").replace("<", "").replace(">", "")
        if ident not in seen:
            seen.add(ident)
            lines.append(f'  {ident}[/"{name}"/]')
        return ident

    edges: dict[str, None] = {}
    for app in APPS:
        for topic in app.reads:
            edges[f"  {node(topic)} --> {app.name}"] = None
        for topic in app.writes:
            edges[f"  {app.name} --> {node(topic)}"] = None
    lines.extend(f"  {app.name}(({app.name}))" for app in APPS)
    lines.extend(edges)
    lines.append("  sink --> postgres[(Postgres)]")
    return "\n".join(lines) + "\n"
