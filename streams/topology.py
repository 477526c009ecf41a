"""The topology: which application reads and writes which topic, as data.

The edges stand in the topic registry, with each topic. The picture in the docs is drawn from here,
and a test compares it with what the applications really subscribe to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streams.topics import DEAD_LETTERS, STEPS, TOPICS, Topic, all_topics


@dataclass(frozen=True, slots=True)
class App:
    """One process type, with the topics it reads and writes."""

    name: str
    job: str
    reads: tuple[Topic, ...]
    writes: tuple[Topic, ...]


def _app(name: str, job: str) -> App:
    """The edges of an application, as the topic registry declares them."""
    return App(
        name,
        job,
        reads=tuple(topic for topic in all_topics() if name in topic.readers),
        writes=tuple(topic for topic in TOPICS.values() if name in topic.writers),
    )


# Procedures are read beside the loop. Requests and control come back to the router once when they
# were produced off their route.
ROUTER: Final = _app(
    "router", "decides: admits plans, dispatches steps, keeps the numbered event log"
)
EXECUTOR: Final = _app("executor", "acts: claims a step, runs it, reports what happened")
SINK: Final = _app("sink", "stores: writes events and output to Postgres, exactly once")
# Its own topic is its store: it restores from there.
PROJECTOR: Final = _app("projector", "knows: folds events into live progress")
# It also reads the topics that triggers name.
MATCHER: Final = _app("matcher", "listens: finds the records that start a procedure")

# What it writes it is asked for by people; it redrives nothing but requests and control messages.
API: Final = _app("api", "serves HTTP: shows what is there, and sends what people ask for")

APPS: Final = (ROUTER, EXECUTOR, SINK, PROJECTOR, MATCHER, API)


def to_mermaid() -> str:
    """Draw the topology as a Mermaid flow chart; step topics are folded into one node each."""
    lines = ["flowchart LR", "  producers([producers]) --> execution_requests"]
    lines.append("  operators([operators]) --> execution_control")
    lines.append("  operators --> execution_procedures")
    lines.append("  operators --> schedules_commands")
    lines.append("  operators --> triggers_commands")
    lines.append("  other([any topic]) --> matcher")
    lines.append("  senders([senders of webhooks]) --> api")
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
    lines.append("  postgres --> api")
    return "\n".join(lines) + "\n"
