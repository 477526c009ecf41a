"""What a Postgres error means for an attempt."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout, TooManyRequests

from drivers.context import Failure
from drivers.errors import fail
from toolmeta.invocation import Invocation

#: The server rolled back, and the same statements may succeed later.
_BUSY: Final = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)

#: For a failed connection libpq gives no code, only these texts (locale C).
_UNCONNECTED: Final = (
    ("connection refused", "connection_refused"),
    ("password authentication failed", "login_refused"),
    ("no password supplied", "login_refused"),
    ("no pg_hba.conf entry", "login_refused"),
    ("peer authentication failed", "login_refused"),
    ("role  does not exist", "login_refused"),
    ("role  is not permitted to log in", "login_refused"),
    ("database  does not exist", "not_found"),
    ("too many connections for role", "unreachable"),
    ("certificate", "tls_failed"),
    ("ssl", "tls_failed"),
)
#: Names and paths in these texts, which may be any words.
_NAMES: Final = re.compile(r"\"[^\"]*\"|'[^']*'")


def unconnected(invocation: Invocation, error: psycopg.Error) -> Failure:
    """The failure of an attempt to connect: nothing was done yet."""
    text = str(error)
    lower = _NAMES.sub("", text).lower()
    if "no such file or directory" in lower:
        return fail(invocation, "connection_refused", "no database server listens there")
    error_class = next((name for words, name in _UNCONNECTED if words in lower), "unreachable")
    reason = text.strip().splitlines()[-1].strip() if text.strip() else "no answer"
    return fail(invocation, error_class, f"the database cannot be used: {reason}")


def failed(invocation: Invocation, error: Exception) -> Failure:
    """The failure of a statement."""
    match error:
        case PoolTimeout() | TooManyRequests():
            return fail(invocation, "unreachable", "no database connection within 10 s")
        case errors.QueryCanceled():
            message = "the database stopped the statement: it took too long"
            return fail(invocation, "no_answer", message)
        case errors.ReadOnlySqlTransaction():
            message = f"{_reason(error)}: the tool may only read unless it is told to write"
            return fail(invocation, "database", message)
        case errors.InsufficientPrivilege():
            return fail(invocation, "capability_missing", _reason(error))
        case errors.UniqueViolation() | errors.ExclusionViolation():
            return fail(invocation, "conflict", _reason(error))
        case psycopg.Error() if isinstance(error, _BUSY):
            return fail(invocation, "busy", _reason(error))
        case psycopg.OperationalError() if error.sqlstate is None or error.sqlstate[:2] in (
            "08",
            "57",
        ):
            return fail(
                invocation,
                "connection_lost",
                f"the connection to the database was lost: {_reason(error)}",
            )
    return fail(invocation, "database", _reason(error))


def _reason(error: Exception) -> str:
    """The server's message without its detail, which may quote stored values."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
