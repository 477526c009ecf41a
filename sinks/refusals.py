"""Which errors are due to a row, and which may pass by themselves; pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import psycopg

#: SQLSTATE classes that the same row would meet again: cardinality, data, integrity, and limits
#: of the program (an index entry that is too large). Everything else may pass by itself.
#: Source: PostgreSQL documentation, appendix A.
_DUE_TO_THE_ROW: Final = ("21", "22", "23", "54")


class RefusedRow(NamedTuple):
    """A record that Postgres would not store; the sentence is ours and quotes no value."""

    topic: str
    partition: int
    offset: int
    message: str


def is_refusal(error: psycopg.Error) -> bool:
    """Whether the row is to blame, so that trying again is of no use."""
    if error.sqlstate is None:
        # Raised on our side while a value was written out, before anything was sent.
        return isinstance(error, psycopg.DataError)
    return error.sqlstate[:2] in _DUE_TO_THE_ROW


def refused_row(place: tuple[str, int], offset: int, error: psycopg.Error) -> RefusedRow:
    """What to say of a refused row: Postgres' class of fault and the column, not its content."""
    where = error.diag.column_name or error.diag.constraint_name
    sentence = f"Postgres refuses the row: {type(error).__name__} ({error.sqlstate or 'client'})"
    return RefusedRow(*place, offset, sentence + (f" at {where}" if where else ""))


def needs_migration(error: psycopg.Error) -> bool:
    """Whether the tables are missing or older than this program."""
    return error.sqlstate in ("3F000", "42P01", "42703", "42704")
