"""Why a database cannot be used: from the sentence, not from names that stand in it."""

from __future__ import annotations

import psycopg
import pytest

from drivers.databases.failures import unconnected
from toolmeta.invocation import Invocation

PSQL = Invocation("psql", "sql", call="query")
AT = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "error_class"),
    [
        (AT + "Connection refused\n\tIs the server running on that host?", "connection_refused"),
        (AT + 'FATAL:  password authentication failed for user "ssl"', "login_refused"),
        (AT + "fe_sendauth: no password supplied", "login_refused"),
        (AT + 'FATAL:  role "certificate" does not exist', "login_refused"),
        (AT + 'FATAL:  role "x" is not permitted to log in', "login_refused"),
        (AT + 'FATAL:  Peer authentication failed for user "x"', "login_refused"),
        (
            AT
            + 'FATAL:  no pg_hba.conf entry for host "::1", user "u", database "d", no encryption',
            "login_refused",
        ),
        (AT + 'FATAL:  database "ssl_certificate" does not exist', "not_found"),
        (AT + 'FATAL:  database "role" does not exist', "not_found"),
        (AT + 'FATAL:  database "password authentication failed" does not exist', "not_found"),
        (AT + "SSL error: certificate verify failed", "tls_failed"),
        (AT + "server does not support SSL, but SSL was required", "tls_failed"),
        (
            'server certificate for "a" does not match host name "role"',
            "tls_failed",
        ),
        (AT + 'root certificate file "/x/root.crt" does not exist\nEither provide', "tls_failed"),
        (AT + "timeout expired", "unreachable"),
        ("failed to resolve host 'ssl-role-db.example': Name or service not known", "unreachable"),
        (AT + "No route to host", "unreachable"),
        (AT + "FATAL:  sorry, too many clients already", "unreachable"),
        (AT + 'FATAL:  too many connections for role "x"', "unreachable"),
        (AT + "FATAL:  the database system is starting up", "unreachable"),
    ],
)
def test_the_sentence_decides(said: str, error_class: str) -> None:
    assert unconnected(PSQL, psycopg.OperationalError(said)).error_class == error_class
