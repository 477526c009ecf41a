"""`runstream dlq`: list, show, redrive and delete dead letters."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import endpoints, options, signing, terminal
from console.exits import Exit, Failure
from console.options import Actor, Json, JsonLines
from reading.text import count, one_line, plain, size, timestamp

if TYPE_CHECKING:
    from console.dead_letters import DeadLetterRecord
    from runtime.settings import CommonSettings
    from streams.topics import Topic

_Topic = Annotated[
    str, typer.Argument(metavar="TOPIC", help="The source topic or its .dlq, e.g. steps.test.")
]
_SomeTopic = Annotated[
    str | None, typer.Argument(metavar="[TOPIC]", help="One topic only; all if not given.")
]
_Partition = Annotated[int, typer.Argument(metavar="PARTITION", min=0)]
_Offset = Annotated[int, typer.Argument(metavar="OFFSET", min=0)]
_Class = Annotated[
    str | None,
    typer.Option("--class", metavar="NAME", help="Only dead letters of this error class."),
]
_Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000)]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Dead letters: records that nobody could use.")
    group.command("list")(list_)
    group.command()(show)
    group.command()(redrive)
    group.command()(drop)
    group.command()(stats)
    app.add_typer(group, name="dlq")


def list_(
    topic: _SomeTopic = None,
    error_class: _Class = None,
    limit: _Limit = 50,
    as_json: Json = False,
    jsonl: JsonLines = False,
) -> None:
    """List dead letters, newest first."""
    found = _newest(topic, error_class, limit)
    if as_json:
        terminal.data([_summary(record) for record in found])
    elif jsonl:
        for record in found:
            terminal.line(_summary(record))
    elif not found:
        terminal.say("no dead letters", "green")
    else:
        _table(found)


def show(topic: _Topic, partition: _Partition, offset: _Offset, as_json: Json = False) -> None:
    """Show one dead letter: its headers, and its key and value as text or, failing that, hex."""
    from console import dead_letters

    settings = _settings()
    record = dead_letters.one(settings, dead_letters.source_of(settings, topic), partition, offset)
    if as_json:
        terminal.data({**_summary(record), "headers": _headers(record),
                       "key": _shown(record.key), "value": _shown(record.value)})  # fmt: skip
        return
    out = terminal.out()
    for name, value in _headers(record).items():
        # On one line each, or a value could look like another header.
        out.print(f"{one_line(name)}: {one_line(value, 4_000)}", markup=False, soft_wrap=True)
    for name, content in (("key", record.key), ("value", record.value)):
        encoding, text = next(iter(_shown(content).items()))
        out.print(f"\n{name} ({encoding}, {size(len(content or b''))})", style="bold")
        out.print(plain(text), markup=False, highlight=False, soft_wrap=True)


def redrive(
    topic: _Topic,
    partition: Annotated[int | None, typer.Argument(metavar="[PARTITION]", min=0)] = None,
    offset: Annotated[int | None, typer.Argument(metavar="[OFFSET]", min=0)] = None,
    error_class: _Class = None,
    limit: _Limit = 1_000,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter of the topic.")] = False,
    actor: Actor = None,
    yes: _Yes = False,
    as_json: Json = False,
) -> None:
    """Redrive dead letters: one by its partition and offset, or all of a topic or class.

    The original bytes go to the source topic; for a step after its last attempt, a rerun
    from that step is requested. The dead letters stay on their topic.
    """
    from console import dead_letters, redriving

    settings = _settings()
    source = dead_letters.source_of(settings, topic)
    if partition is not None and offset is not None:
        found = [dead_letters.one(settings, source, partition, offset)]
    elif partition is None and (every or error_class is not None):
        found = _matching(settings, [source], error_class, limit)
        _confirm(yes, f"redrive {count(len(found), 'dead letter')} of {source.dlq}?")
    else:
        raise Failure("name PARTITION and OFFSET, or --all, or --class", Exit.USAGE)
    signs = signing.private_key(settings)
    who = signing.actor_of(signs, actor, options.login())
    outcome = redriving.redrive(settings, found, who, signs)
    if as_json:
        terminal.data(
            {
                "redriven": [_place(record) for record in outcome.redriven],
                "refused": [{**_place(x), "reason": why} for x, why in outcome.refused],
            }
        )
    for record, why in outcome.refused:
        terminal.say(f"{record.topic}[{record.partition}] {record.offset}: {why}", "red")
    terminal.say(f"{count(len(outcome.redriven), 'dead letter')} redriven")
    if outcome.refused:
        raise typer.Exit(Exit.FAILED)


def drop(
    topic: _Topic, partition: _Partition, offset: _Offset, yes: _Yes = False, as_json: Json = False
) -> None:
    """Delete the dead letter at OFFSET and every older one of its partition, for good.

    Kafka deletes from the start of a partition only, never a single record. The
    copies in execution.execution_dlq stay.
    """
    from confluent_kafka import KafkaException, TopicPartition

    from console import broker, dead_letters

    settings = _settings()
    source = dead_letters.source_of(settings, topic)
    dead_letters.one(settings, source, partition, offset)
    gone = [
        record
        for record in dead_letters.read(settings, [source])
        if record.partition == partition and record.offset <= offset
    ]
    classes = ", ".join(f"{n} {name}" for name, n in Counter(x.error_class for x in gone).items())
    name = dead_letters.dlq_name(settings, source)
    _confirm(yes, f"delete {count(len(gone), 'dead letter')} ({classes}) from {name}[{partition}]?")
    place = TopicPartition(name, partition, offset + 1)
    # Kept in a variable: a client that is garbage collected cancels its requests.
    admin = broker.admin(settings)
    try:
        for future in admin.delete_records([place]).values():
            future.result(broker.PROBE_SECONDS)
    except (KafkaException, TimeoutError) as error:
        raise Failure(f"{name} could not be cut: {error}", Exit.FAILED) from None
    if as_json:
        terminal.data({"topic": name, "partition": partition, "dropped": len(gone)})
    terminal.say(f"{count(len(gone), 'dead letter')} deleted from {name}[{partition}]")


def stats(topic: _SomeTopic = None, as_json: Json = False) -> None:
    """Count dead letters by topic and error class."""
    from console import dead_letters

    settings = _settings()
    counts: Counter[tuple[str, str]] = Counter()
    for record in dead_letters.read(settings, _sources(settings, topic)):
        counts[record.topic, record.error_class] += 1
    rows = [
        {"topic": name, "class": error_class, "letters": number}
        for (name, error_class), number in sorted(counts.items())
    ]
    if as_json:
        terminal.data({"total": counts.total(), "counts": rows})
    elif not rows:
        terminal.say("no dead letters", "green")
    else:
        _grid(("TOPIC", "CLASS", "LETTERS"), [[str(cell) for cell in row.values()] for row in rows])


def _settings() -> CommonSettings:
    from runtime.settings import CommonSettings

    return endpoints.load(CommonSettings)


def _sources(settings: CommonSettings, topic: str | None) -> list[Topic]:
    from console import dead_letters
    from streams.topics import TOPICS

    if topic is not None:
        return [dead_letters.source_of(settings, topic)]
    return [source for source in TOPICS.values() if source.dead_letters]


def _matching(
    settings: CommonSettings, sources: list[Topic], error_class: str | None, limit: int
) -> list[DeadLetterRecord]:
    """The newest, at most `limit`; the whole of a topic is read only to find a class."""
    import heapq

    from console import dead_letters

    found = dead_letters.read(settings, sources, newest=limit if error_class is None else None)
    wanted = (x for x in found if error_class is None or x.error_class == error_class)
    return heapq.nlargest(limit, wanted, key=lambda x: (x.at_ms, x.topic, x.partition, x.offset))


def _newest(topic: str | None, error_class: str | None, limit: int) -> list[DeadLetterRecord]:
    settings = _settings()
    return _matching(settings, _sources(settings, topic), error_class, limit)


def _place(record: DeadLetterRecord) -> dict[str, Any]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _summary(record: DeadLetterRecord) -> dict[str, Any]:
    from streams.envelope import header

    return {
        **_place(record),
        "at": record.at.isoformat(timespec="milliseconds"),
        "class": record.error_class,
        "message": record.said("message"),
        "stage": record.said("stage"),
        "source_offset": record.said("offset"),
        "execution_id": header(record.headers, "ce_subject"),
        "hops": record.hops,
        "bytes": len(record.value or b""),
    }


def _headers(record: DeadLetterRecord) -> dict[str, str]:
    return {
        name: next(iter(_shown(value.encode() if isinstance(value, str) else value).values()))
        for name, value in record.headers
    }


def _shown(content: bytes | None) -> dict[str, str]:
    if content is None:
        return {"none": ""}
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"hex": content.hex()}


def _table(found: list[DeadLetterRecord]) -> None:
    rows = [
        [
            record.topic, str(record.partition), str(record.offset), timestamp(record.at),
            record.error_class, one_line(record.said("message") or "", 80),
        ]
        for record in found
    ]  # fmt: skip
    _grid(("TOPIC", "PART", "OFFSET", "WRITTEN", "CLASS", "WHY"), rows)


def _grid(head: tuple[str, ...], rows: list[list[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    terminal.out().print(table)


def _confirm(yes: bool, question: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} stdin is no terminal", Exit.USAGE, "add --yes")
    if not typer.confirm(plain(question), err=True):
        raise Failure("nothing was done", Exit.FAILED)
