"""`runstream logs`: what all steps of an execution wrote, to the terminal or into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from console import endpoints, options, terminal
from console.exits import Exit, Failure
from console.options import ExecutionId
from reading.text import count, plain, size

if TYPE_CHECKING:
    from psycopg import Connection

#: Chunks of at most 64 KiB that are read at a time.
_CHUNKS: Final = 64
#: In the order in which the attempts began; of one attempt stdout first.
_WRITTEN: Final = """
SELECT o.step, o.attempt, o.stream, o.chunk, o.text
FROM execution.output AS o
LEFT JOIN execution.attempts AS a USING (execution_id, step, attempt)
WHERE o.execution_id = %(id)s
  AND (%(step)s::text IS NULL OR o.step = %(step)s
       OR starts_with(o.step, %(step)s || '[') OR starts_with(o.step, %(step)s || '.'))
ORDER BY a.started_at, o.step, o.attempt, o.stream DESC, o.chunk
"""
_KNOWN: Final = """
SELECT 1 FROM execution.execution_steps
WHERE execution_id = %(id)s AND (%(step)s::text IS NULL OR step = %(step)s)
LIMIT 1
"""

Part = tuple[str, int, str]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(logs)


def logs(
    execution_id: ExecutionId,
    step: Annotated[
        str | None,
        typer.Argument(metavar="STEP", help="Only this step, with its items and steps within."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Into files of this new folder, as it is."),
    ] = None,
) -> None:
    """Print what all attempts of all steps wrote, each line with its step; or save it."""
    from console import database
    from runtime.settings import DatabaseSettings

    ident = options.execution_id(execution_id)
    given = {"id": ident, "step": step}
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        chunks = _chunks(connection, given)
        found = _print(chunks) if to is None else _save(chunks, to)
        known = found or connection.execute(_KNOWN, given).fetchone() is not None
    if not known:
        what = "execution" if step is None else f"step {plain(step)} of execution"
        raise Failure(f"there is no {what} {ident} in the database", Exit.FAILED, "runstream list")
    if not found:
        terminal.say("nothing was written", "dim")


def _chunks(connection: Connection[dict[str, Any]], given: dict[str, Any]) -> Iterator[Any]:
    with connection.cursor(name="logs") as cursor:
        cursor.itersize = _CHUNKS
        cursor.execute(_WRITTEN, given)
        yield from cursor


def _part(chunk: dict[str, Any]) -> Part:
    return chunk["step"], chunk["attempt"], chunk["stream"]


def _print(chunks: Iterator[dict[str, Any]]) -> bool:
    """Line by line; a line that two chunks share is put together, one of a megabyte is not."""
    last: Part | None = None
    rest = ""
    for chunk in chunks:
        part = _part(chunk)
        if last is not None and part != last:
            _lines(last, rest)
            rest = ""
        last = part
        *whole, rest = (rest + chunk["text"]).split("\n")
        for line in whole:
            _lines(part, line + "\n")
        if len(rest) > 2**20:
            _lines(part, rest)
            rest = ""
    if last is not None:
        _lines(last, rest)
    return last is not None


def _lines(part: Part, text: str) -> None:
    if text:
        step, attempt, stream = part
        mark = "" if stream == "stdout" else "!"
        number = "" if attempt == 1 else f" #{attempt}"
        terminal.raw(f"{step}{number}{mark} | {text}" + ("" if text.endswith("\n") else "\n"))


def _save(chunks: Iterator[dict[str, Any]], folder: Path) -> bool:
    """One file for each attempt and stream; the folder is made, and must not be there."""
    first = next(chunks, None)
    if first is None:
        return False
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise Failure(
            f"--to: {folder}: {error.strerror}", Exit.USAGE, "name a folder that is not there yet"
        ) from None
    written: dict[Part, int] = {}
    with ExitStack() as files:
        at: Part | None = None
        file: IO[str] | None = None
        for chunk in chain([first], chunks):
            part = _part(chunk)
            if part != at:
                files.close()
                step, attempt, stream = at = part
                path = folder / f"{step}.{attempt}.{stream}"
                file = files.enter_context(path.open("w", encoding="utf-8", newline=""))
            assert file is not None  # opened with the first part  # noqa: S101
            file.write(chunk["text"])
            written[part] = written.get(part, 0) + len(chunk["text"].encode())
    total = size(sum(written.values()))
    terminal.say(f"{count(len(written), 'file')}, {total} in {folder}", "dim")
    return True
