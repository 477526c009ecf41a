"""Which errors are due to a row, and which may not occur again; pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import psycopg

#: SQLSTATE classes of errors that the same row causes again: cardinality, data, integrity, and
#: limits of the program (an index entry that is too large). Every other error may not occur again.
#: Source: PostgreSQL documentation, appendix A.
_DUE_TO_THE_ROW: Final = ("21", "22", "23", "54")


class RefusedRow(NamedTuple):
    """A record that Postgres refused to store; the message quotes no value of it."""

    topic: str
    partition: int
    offset: int
    message: str


def is_refusal(error: psycopg.Error) -> bool:
    """Whether the error is due to the row, so that the same row fails again."""
    if error.sqlstate is None:
        # Raised on our side while a value was written out, before anything was sent.
        return isinstance(error, psycopg.DataError)
    return error.sqlstate[:2] in _DUE_TO_THE_ROW


def refused_row(place: tuple[str, int], offset: int, error: psycopg.Error) -> RefusedRow:
    """The refused row with Postgres' error class and the column, without its content."""
    where = error.diag.column_name or error.diag.constraint_name
    sentence = f"Postgres refuses the row: {type(error).__name__} ({error.sqlstate or 'client'})"
    return RefusedRow(*place, offset, sentence + (f" at {where}" if where else ""))


def needs_migration(error: psycopg.Error) -> bool:
    """Whether the tables are missing or older than this program."""
    return error.sqlstate in ("3F000", "42P01", "42703", "42704")
