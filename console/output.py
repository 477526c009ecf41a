"""`runstream output`: everything that an attempt wrote, as far as it was published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from console import endpoints, options, terminal
from console.exits import Exit, Failure
from console.options import ExecutionId, JsonLines
from reading.text import count, size

if TYPE_CHECKING:
    from psycopg import Connection

#: Chunks of at most 64 KiB that are read at a time.
_CHUNKS: Final = 64
_CHOSEN: Final = """
SELECT step, attempt, stdout, stderr FROM execution.attempts
WHERE execution_id = %(id)s AND step = %(step)s
  AND (%(attempt)s::integer IS NULL OR attempt = %(attempt)s)
ORDER BY attempt DESC LIMIT 1
"""
_WRITTEN: Final = """
SELECT chunk, byte_offset, text, at FROM execution.output
WHERE execution_id = %(id)s AND step = %(step)s AND attempt = %(attempt)s
  AND stream = %(stream)s
ORDER BY chunk
"""
_STEPS: Final = """
SELECT DISTINCT step FROM execution.output WHERE execution_id = %(id)s ORDER BY step LIMIT 20
"""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(output)


def output(
    execution_id: ExecutionId,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The id of the step.")],
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", metavar="N", min=1, help="Of this attempt; the last one."),
    ] = None,
    stream: Annotated[
        Literal["stdout", "stderr"], typer.Option("--stream", help="Which of the two.")
    ] = "stdout",
    json_lines: JsonLines = False,
) -> None:
    """Print everything that an attempt of a step wrote; to a file or pipe as it is."""
    from console import database
    from runtime.settings import DatabaseSettings

    ident = options.execution_id(execution_id)
    given: dict[str, Any] = {"id": ident, "step": step, "attempt": attempt, "stream": stream}
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        chosen = connection.execute(_CHOSEN, given).fetchone()
        if chosen is None:
            raise _unknown(connection, given)
        given["attempt"] = chosen["attempt"]
        found = following = 0
        for chunk in _chunks(connection, given):
            if chunk["chunk"] != following:
                missing = count(chunk["chunk"] - following, "chunk")
                terminal.say(f"{missing} of it are not in the database", "yellow")
            following = chunk["chunk"] + 1
            found += len(chunk["text"].encode())
            _print(given, chunk, json_lines)
    what = f"{stream} of {step}, attempt {given['attempt']}"
    summary = chosen[stream]
    wrote = summary["bytes"] if summary else found
    if not wrote:
        terminal.say(f"nothing was written to {what}", "dim")
    elif found < wrote:  # never of text that is whole: a byte that is none takes three
        terminal.say(f"{what}: {size(found)} of {size(wrote)} were published", "yellow")


def _chunks(connection: Connection[dict[str, Any]], given: dict[str, Any]) -> Iterator[Any]:
    with connection.cursor(name="output") as cursor:
        cursor.itersize = _CHUNKS
        cursor.execute(_WRITTEN, given)
        yield from cursor


def _print(given: dict[str, Any], chunk: dict[str, Any], json_lines: bool) -> None:
    if json_lines:
        terminal.line(
            {
                "attempt": given["attempt"],
                "stream": given["stream"],
                "offset": chunk["byte_offset"],
                "at": chunk["at"].isoformat(),
                "text": chunk["text"],
            }
        )
        return
    terminal.raw(chunk["text"])


def _unknown(connection: Connection[dict[str, Any]], given: dict[str, Any]) -> Failure:
    steps = [row["step"] for row in connection.execute(_STEPS, given)]
    which = f"step {given['step']}"
    if given["attempt"] is not None:
        which = f"attempt {given['attempt']} of {which}"
    there = f"{count(len(steps), 'step')} wrote something: {', '.join(steps)}" if steps else ""
    return Failure(
        f"there is no {which} of execution {given['id']} in the database",
        Exit.FAILED,
        there or f"runstream show {given['id']} lists its steps",
    )
