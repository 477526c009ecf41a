"""`runstream topics apply`, `show` and `acls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from console import endpoints, terminal
from console.acls import acls
from console.exits import Exit, Failure
from console.options import Json, Quiet
from reading.text import count

if TYPE_CHECKING:
    from console.topic_admin import TopicState
    from streams.topics import Topic


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="The Kafka topics: create them, show them.")
    group.command()(apply)
    group.command()(show)
    group.command()(acls)
    app.add_typer(group, name="topics")


def apply(quiet: Quiet = False) -> None:
    """Create the topics that are missing and adjust settings that differ; safe to repeat.

    Nothing is deleted. A topic with another number of partitions is an error: changing it would
    put records of one key into two partitions.
    """
    from console import topic_admin
    from runtime.settings import CommonSettings

    settings = endpoints.load(CommonSettings)
    states = topic_admin.inspect(settings)
    missing = [state for state in states if state.partitions is None]
    differing = [state for state in states if state.differences]
    topic_admin.create(settings, missing)
    topic_admin.adjust(settings, differing)
    if missing or differing:
        topic_admin.settle(settings)
    if not quiet:
        for state in missing:
            terminal.say(f"created {state.name}")
        for state in differing:
            changes = ", ".join(f"{key}={wanted}" for key, (wanted, _) in state.differences.items())
            terminal.say(f"adjusted {state.name}: {changes}")
    problems = [state.problem for state in states if state.problem is not None]
    if problems:
        for problem in problems[1:]:
            terminal.say(f"error: {problem}", "bold red")
        raise Failure(
            problems[0],
            Exit.FAILED,
            "move the records to a topic with the right number, or use another "
            "RUNSTREAM_TOPIC_PREFIX",
        )
    if not quiet:
        terminal.say(
            f"{count(len(states), 'topic')} at {settings.bootstrap_servers}: "
            f"{len(missing)} created, {len(differing)} adjusted",
            "green",
        )


def show(as_json: Json = False) -> None:
    """Show every topic: who writes and reads it, and whether the cluster has it so."""
    from console import topic_admin
    from runtime.settings import CommonSettings

    states = topic_admin.inspect(endpoints.load(CommonSettings))
    if as_json:
        terminal.data([_document(state) for state in states])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("TOPIC", "KEY", "PARTITIONS", "KEPT", "WRITERS", "READERS", "STATE"):
        table.add_column(column, overflow="fold")
    for state in states:
        topic = state.topic
        word, colour = _state(state)
        table.add_row(
            state.name, topic.key, str(state.partitions or topic.partitions), _kept(topic),
            ", ".join(topic.writers), ", ".join(topic.readers), Text(word, style=colour),
        )  # fmt: skip
    terminal.out().print(table)


def _kept(topic: Topic) -> str:
    days = "" if topic.retention_days is None else f"{topic.retention_days} d"
    return f"latest {days}".strip() if "compact" in topic.cleanup else days


def _state(state: TopicState) -> tuple[str, str]:
    if state.partitions is None:
        return "missing", "bold red"
    if state.problem is not None:
        return f"{state.partitions} partitions", "bold red"
    if state.differences:
        return f"differs: {', '.join(state.differences)}", "yellow"
    return "ok", "green"


def _document(state: TopicState) -> dict[str, object]:
    topic = state.topic
    return {
        "name": state.name,
        "key": topic.key,
        "carries": topic.carries,
        "writers": topic.writers,
        "readers": topic.readers,
        "partitions": topic.partitions,
        "config": topic.config(),
        "dead_letters": topic.dlq if topic.dead_letters else None,
        "exists": state.partitions is not None,
        "actual_partitions": state.partitions,
        "differences": {
            key: {"wanted": wanted, "actual": actual}
            for key, (wanted, actual) in state.differences.items()
        },
    }
